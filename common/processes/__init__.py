"""Child processes: start them, read their output, and end them when the command ends."""
