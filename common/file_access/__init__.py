"""Files: reading those that a person names, YAML with line numbers, writing whole files."""
