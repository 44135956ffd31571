"""Loads: moving the event log through connections to their destinations."""
