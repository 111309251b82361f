"""Why a process ended: "out of memory" is reported only with evidence."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.processes import exit_reason

CODES = st.integers(-64, 255).filter(bool)


@given(CODES, st.sampled_from([(None, None), (None, 5), (5, None), (5, 5), (6, 5)]))
def test_memory_is_never_named_without_evidence(code: int, counts: tuple[int | None, int | None]) -> None:
    before, now = counts
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exit_reason, "oom_kills", lambda: now)
        assert exit_reason.explain(code, before, "everything was fine").kind != "out-of-memory"


@given(CODES)
def test_every_exit_reason_names_the_code_or_the_signal(code: int) -> None:
    reason = exit_reason.explain(code, None)
    assert reason.kind == ("killed" if code in (-1, -2, -9, -15) else reason.kind)
    assert str(code) in reason.why if code > 0 else ("SIG" in reason.why or str(-code) in reason.why)


def test_the_kernel_s_count_explains_only_sigkill(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(exit_reason, "oom_kills", lambda: 6)
    assert exit_reason.explain(-9, 5).kind == "out-of-memory"
    assert (
        exit_reason.explain(-15, 5).kind,
        exit_reason.explain(-11, 5).kind,
        exit_reason.explain(1, 5).kind,
    ) == (
        "killed",
        "crash",
        "crash",
    )


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate", True),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", True),
        ("numpy._core._exceptions._ArrayMemoryError: Unable to allocate 9.00 GiB\nMemoryError", True),
        (
            "Allocator (GPU_0_bfc) ran out of memory trying to allocate 2.00GiB. The caller indicates that this is "
            "not a failure, but this may mean that there could be performance gains",
            False,
        ),
        ("libgomp.so.1: cannot allocate memory in static TLS block", False),
        ("the room is full of bloom", False),
    ],
)
def test_error_messages_of_frameworks_are_evidence(output: str, expected: bool) -> None:
    assert exit_reason.reports_out_of_memory(output) is expected
    assert (exit_reason.explain(-6, None, output).kind == "out-of-memory") is expected


def laid_out(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


VMSTAT = "pgfault 9\noom_kill 7\noom_kill_other 8\n"
EVENTS = "low 0\noom 3\noom_kill 2\noom_group_kill 0\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc__vmstat": VMSTAT}, 7),
        ({"proc__vmstat": "pgfault 9\n"}, None),
        ({"proc__vmstat": VMSTAT, "proc__self__cgroup": "0::/a/b\n"}, 7),
        (
            {
                "proc__vmstat": VMSTAT,
                "proc__self__cgroup": "0::/a/b\n",
                "sys__fs__cgroup__a__b__memory_dot_events": EVENTS,
            },
            2,
        ),
        ({"proc__self__cgroup": "0::/pod/x\n", "sys__fs__cgroup__memory_dot_events": EVENTS}, 2),
        (
            {
                "proc__self__cgroup": "5:cpu,memory:/a\n",
                "sys__fs__cgroup__memory__a__memory_dot_oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
            },
            4,
        ),
    ],
)
def test_the_count_of_the_own_control_group_takes_precedence(
    tmp_path: Path, files: dict[str, str], expected: int | None
) -> None:
    assert exit_reason.oom_kills(laid_out(tmp_path, **files)) == expected


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_invalid_counters_are_ignored(
    tmp_path_factory: pytest.TempPathFactory, group: bytes, count: bytes
) -> None:
    root = tmp_path_factory.mktemp("root")
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_bytes(group)
    (root / "proc/vmstat").write_bytes(count)
    assert exit_reason.oom_kills(root) is None or b"oom_kill" in count
