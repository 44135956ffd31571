"""The parts that all work shares: queue, locks, error texts, heartbeat and audit log."""
