"""The source of a fact in a data file, and how reliable it is."""

from __future__ import annotations

import datetime
from typing import Literal

import msgspec

Verified = Literal["measured", "published", "memory", "derived"]
"""measured: read from a wheel or from a package index. published: from documentation or an issue, not tried.
memory: general knowledge, not confirmed. derived: follows from other rows."""


class Sourced(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row of a data file, with the day on which its source was read."""

    date: datetime.date
    source: str
    verified: Verified
