"""One reading of one sensor or setting: a value, or the reason why there is none."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

import msgspec

T = TypeVar("T")

State = Literal["ok", "not-supported", "no-permission", "failed"]


class Reading(msgspec.Struct, Generic[T], frozen=True, omit_defaults=True):
    """``value`` is set exactly when ``state`` is "ok"; nothing that was not read is ever reported as 0.

    ``not-supported``: this device or driver does not have it. ``no-permission``: it is there, but not for
    this user. ``failed``: it should have been readable; ``code`` is the library's own return code where
    there is one (NVML's, an errno), ``why`` one clause for a person.
    """

    value: T | None = None
    state: State = "ok"
    code: int | None = None
    why: str = ""

    @property
    def ok(self) -> bool:
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
