"""Readers of reports about another computer. ``inventory.sources.read.machine`` turns a report into a Machine."""
