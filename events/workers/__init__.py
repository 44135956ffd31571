"""What workers share: the queue, locks, errors, heartbeats and the audit log."""
