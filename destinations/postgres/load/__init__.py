"""Loading a chunk of events into a Postgres warehouse."""
