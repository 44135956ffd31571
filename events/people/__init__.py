"""Identities and profiles: the stores, the profile API, erasures and changes."""
