"""The command line: option types, lazy groups, exit codes, error messages, the JSON envelope."""
