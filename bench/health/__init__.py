"""Checks by theme: each a pure function of (Machine, Card | None), no I/O."""
