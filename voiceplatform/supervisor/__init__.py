"""The parent process of an instance: sockets, children, restarts, drain (docs/operations.md)."""
