"""Identity resolution in a Postgres warehouse."""
