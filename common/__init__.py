"""What several packages need: YAML with line numbers, child processes, files, progress. Imports no other package."""
