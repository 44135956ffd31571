"""Loads: writing the event log to destinations, chunk by chunk."""
