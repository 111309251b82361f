"""Checks of the measurements under load."""
