"""Plans through rows: the services, the clock, the pages."""
