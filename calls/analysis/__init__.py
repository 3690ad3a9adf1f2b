"""What is asked about a call that is over, and what the answers mean; pure."""
