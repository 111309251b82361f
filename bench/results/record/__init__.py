"""The result document: its records, its JSON encoding and its JSON Schema."""
