"""Readings of the card while a workload trains, and their summary."""
