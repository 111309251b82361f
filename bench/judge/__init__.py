"""Measurements -> findings: pure functions of a result, its history and what is expected of it."""
