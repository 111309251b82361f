"""Downloads with a SHA-256, and archives."""
