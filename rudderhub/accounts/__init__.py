"""Staff who log in: lock-out, sessions, passwords and the second factor."""
