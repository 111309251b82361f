"""Turns measurements into findings: pure functions of a result, its history and its expected values."""
