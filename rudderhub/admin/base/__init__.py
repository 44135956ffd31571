"""What the sections of the admin share."""
