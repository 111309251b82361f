"""The frameworks on which Keras runs."""

from __future__ import annotations

from typing import Literal, get_args

Backend = Literal["tensorflow", "torch", "jax"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
"""The backends in order of preference: the default is the first that is installed or that supports the card."""
