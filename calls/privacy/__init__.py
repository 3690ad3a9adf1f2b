"""What may be kept of a call, as pure functions and values."""
