"""Identity rules as pure functions: statements, links, profiles and erasures."""
