"""Read files that the user names, read YAML with line numbers, and write whole files."""
