"""Child processes: starting them, reading their output, ending them with the command."""
