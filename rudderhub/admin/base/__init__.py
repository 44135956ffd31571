"""The parts that all sections of the admin share."""
