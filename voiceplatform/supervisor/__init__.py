"""The parent process of an instance: sockets, children, restarts, drain (ADR 0017)."""
