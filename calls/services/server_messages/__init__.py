"""Server messages of a call: which are wanted, by whom, and their rows in the outbox."""
