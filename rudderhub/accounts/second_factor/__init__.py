"""The second factor: codes, forms and pages."""
