"""Measurements. These are the only modules that import a deep learning framework, and only in child processes."""
