"""The checks, one module per theme."""
