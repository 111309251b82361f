"""Download files, check their SHA-256, and extract archives."""
