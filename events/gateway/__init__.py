"""The HTTP gateway: from a request to stored events, or to a refusal."""
