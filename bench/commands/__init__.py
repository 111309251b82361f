"""What each command of the package does: options in, exit code out."""
