"""Events to rows: names, types, columns and tables."""
