"""The HTTP gateway, which turns requests into stored events or refuses them."""
