"""Reads of a warehouse for pages and the profile API."""
