"""One module per command: it takes the parsed options, does the work and returns the exit code."""
