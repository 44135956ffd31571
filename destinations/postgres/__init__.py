"""A warehouse in Postgres: connection, loads, identities, operations and reads."""
