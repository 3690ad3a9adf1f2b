"""What the bench needs of the machine and of an instance."""
