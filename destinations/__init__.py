"""Destinations: where events go, and the types of warehouse that take them."""
