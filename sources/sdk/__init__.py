"""Serves SDKs: their configuration, and the scripts of the browser SDKs."""
