"""One module per data set: generated here, or downloaded with a SHA-256."""
