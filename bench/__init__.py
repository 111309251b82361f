"""Health checks of a machine, measurements of its training speed, verdicts, and stored results."""
