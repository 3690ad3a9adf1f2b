"""The door of recording addresses: what is asked there goes on to a tool server, and back."""
