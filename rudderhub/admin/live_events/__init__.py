"""Live events and the trace of one event."""
