"""Staff, sessions and the system page."""
