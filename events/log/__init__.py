"""The event log: writing, reading, partitions, counts and retention."""
