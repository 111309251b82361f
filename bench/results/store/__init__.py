"""The history of runs: SQLite, import and export, lookup by number or file."""
