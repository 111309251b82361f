"""Know that the box is right: health checks, measurements, verdicts, results."""
