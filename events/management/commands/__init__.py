"""The management commands of events: each module is one."""
