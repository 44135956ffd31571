"""What tests share: servers, an instance, data, requests. No test stands here."""
