"""Quarantine, dead letters and losses."""
