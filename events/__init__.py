"""Receives events, keeps them in the log and loads them into destinations."""
