"""The terminal: consoles, progress, and the filter for control characters."""
