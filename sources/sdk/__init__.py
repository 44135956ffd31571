"""What SDKs fetch from the instance: their configuration, and the scripts of the browser SDKs."""
