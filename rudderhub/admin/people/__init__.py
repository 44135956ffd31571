"""Profiles, identity rules and erasures."""
