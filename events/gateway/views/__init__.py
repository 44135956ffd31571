"""The views of the event routes: each parses, accepts and answers."""
