"""The reading of a sensor or setting: its value, or the reason why there is none."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

import msgspec

T = TypeVar("T")

State = Literal["ok", "not-supported", "no-permission", "failed", "not-in-source"]


class Reading(msgspec.Struct, Generic[T], frozen=True, omit_defaults=True):
    """``value`` is set if and only if ``state`` is "ok". A value that was not read is never reported as 0.

    ``not-supported``: this device or driver does not have the value. ``no-permission``: this user may not read the
    value.
    ``failed``: the value should be readable, but reading it failed. ``not-in-source``: the record comes from a report
    about another computer (``inventory.sources``), which does not contain the value.
    ``code``: the return code of NVML or the errno, if there is one. ``why``: the reason as one clause.
    """

    value: T | None = None
    state: State = "ok"
    code: int | None = None
    why: str = ""

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.state == "ok" and self.value is not None

    @classmethod
    def of(cls, value: T) -> Reading[T]:
        return cls(value=value)

    @classmethod
    def not_supported(cls, why: str = "", code: int | None = None) -> Reading[T]:
        return cls(state="not-supported", why=why, code=code)

    @classmethod
    def no_permission(cls, why: str = "", code: int | None = None) -> Reading[T]:
        return cls(state="no-permission", why=why, code=code)

    @classmethod
    def failed(cls, why: str, code: int | None = None) -> Reading[T]:
        return cls(state="failed", why=why, code=code)

    @classmethod
    def not_in_source(cls) -> Reading[T]:
        return cls(state="not-in-source", why="not in this source")
