"""The result document: records, JSON, schema."""
