"""The differences that a dry run prints for each file."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.ansible.diffs import LINES_SHOWN, describe

LOCK = "six==1.17.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nwrapt==2.5.2 --hash=sha256:cc\n"


def file(before: str, after: str, dest: str = "/etc/x.conf") -> dict[str, Any]:
    diff = [{"before": before, "after": after, "after_header": "/tmp/dlbox-1/local/x.j2"}]
    return {"changed": True, "diff": diff, "invocation": {"module_args": {"dest": dest}}}


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (
            {"diff": {"before": {"path": "/opt/a", "state": "absent"}, "after": {"path": "/opt/a", "state": "link"}}},
            "/opt/a: absent -> link",
        ),
        (
            {"diff": {"before": {"path": "/opt/a", "mode": "0700"}, "after": {"path": "/opt/a", "mode": "0755"}}},
            "/opt/a: mode 0700 -> 0755",
        ),
        (file("", "hello\n"), "/etc/x.conf would be new:\n+hello"),
        (file("hello\nyou\n", "hello\nthere\n"), "/etc/x.conf would change:\n hello\n-you\n+there"),
        (file("hello\n", ""), "/etc/x.conf would be emptied:\n-hello"),
        (file("", LOCK), "/etc/x.conf would be new, with 2 packages:\nsix 1.17.0, wrapt 2.5.2"),
        (
            file(LOCK, LOCK.replace("1.17.0", "1.18.0").replace("wrapt", "gast")),
            "/etc/x.conf would change:\n+ gast 2.5.2\nsix 1.17.0 -> 1.18.0\n- wrapt 2.5.2",
        ),
        (file(LOCK, LOCK.replace("aa", "dd")), "/etc/x.conf would change:\nonly hashes"),
        ({"diff": {"prepared": "The following NEW packages will be installed:\n  x\n"}}, "The following NEW"),
    ],
)  # fmt: skip
def test_differences_as_text(result: dict[str, Any], words: str) -> None:
    text = describe(result) or ""
    assert text.startswith(words)
    assert "/tmp/" not in text


def test_a_long_difference_is_shortened() -> None:
    text = (describe(file("", "".join(f"line {n}\n" for n in range(100)))) or "").splitlines()
    assert len(text) == LINES_SHOWN + 2
    assert text[-1] == f"... and {100 - LINES_SHOWN} more lines: see the log"


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "diff": st.dictionaries(st.sampled_from(["before", "after", "prepared", "after_header"]), _values)
            | st.lists(st.dictionaries(st.sampled_from(["before", "after"]), _values))
            | _values,
            "invocation": _values,
            "dest": _values,
        },
    )
)
def test_any_result_of_a_module_is_accepted(result: dict[str, Any]) -> None:
    text = describe(result)
    assert text is None or text
