"""The management commands of events."""
