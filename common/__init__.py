"""What several packages need: YAML with line numbers, child processes, files, click types. Imports no other package."""
