"""The pages of sources and destinations."""
