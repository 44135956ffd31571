"""Sources: who may send, by which keys and limits, and the configuration of their SDKs."""
