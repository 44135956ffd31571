"""The sender's formats as pure functions: events, pixels, webhooks and their JSON."""
