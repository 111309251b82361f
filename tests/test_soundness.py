"""Edited or damaged files: each is refused with the reason, and summaries are recomputed from the timed blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.results.record.document import Document, Percentiles, Repeat, Result, Spread, to_json
from bench.results.record.figures import TokenRate
from bench.results.store import lookup, validate
from tests import pages
from tests.samples import blocks, document, result


def test_documents_of_dlbox_pass_the_check() -> None:
    for made in (document(), pages.twelve(), pages.on_card(), pages.cut_short()):
        assert validate.fault(lookup.decode(to_json(made).encode(), "x")) is None


def told(first: Result) -> str:
    return validate.fault(document(results=(first,))) or ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"repeats": ()}, "has no timed block"),
        ({"repeats": (Repeat(seed=0),)}, "has no timed block"),
        ({"samples_per_second": Spread(median=0.0, mad=1.0, values=())}, "`samples_per_second` of lstm"),
        ({"accuracy": 5.0}, "`accuracy` of lstm is not between 0 and 1"),
        ({"ceiling": -0.1}, "`ceiling` of lstm"),
        ({"compile_seconds": -4.0}, "`compile_seconds` of lstm is below 0"),
        ({"batch_size": 0}, "`batch_size` of lstm"),
        ({"workload": "\u202ecnn"}, "control characters"),
    ],
)
def test_an_impossible_figure_is_named(changes: dict[str, Any], words: str) -> None:
    assert told(result("lstm")) == ""
    assert words in told(msgspec.structs.replace(result("lstm"), **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"seconds": 0.0},
        {"seconds": -1.0},
        {"seconds": 1e-300},
        {"examples": 2**62},
        {"steps": 0},
        {"other_cpu_cores": -2.0},
    ],
)
def test_a_block_with_an_impossible_time_is_refused(changes: dict[str, Any]) -> None:
    first, *others = blocks(400.0, 401.0)
    repeat = Repeat(seed=0, blocks=(msgspec.structs.replace(first, **changes), *others))
    assert "impossible time" in told(result("lstm", repeats=(repeat,)))


def test_impossible_single_steps_are_refused() -> None:
    for steps in (Percentiles(p5=-1.0, p50=0.1, p95=0.2), Percentiles(p5=0.1, p50=0.3, p95=0.2)):
        assert "not in order" in told(result("lstm", single_step_seconds=steps))


def test_a_duplicate_result_is_refused() -> None:
    assert validate.fault(document(results=(result("lstm"), result("lstm")))) == "lstm appears twice"
    other = result("lstm", batch_size=64, batch_kind="chosen")
    assert validate.fault(document(results=(result("lstm"), other))) is None


def test_figures_are_recomputed_from_the_blocks(tmp_path: Path) -> None:
    """An edited summary has no effect."""
    measured = result(
        "lstm",
        tokens_per_sample=300,
        tokens_per_second=120_150.0,
        achieved_tflops=0.04,
        share_of_measured_peak=0.2,
    )
    dressed_up = msgspec.structs.replace(
        measured,
        samples_per_second=Spread(median=4005.0, mad=0.0, values=()),
        step_seconds=Percentiles(p5=-1.0, p50=0.0, p95=9.0),
        tokens_per_second=1_201_500.0,
        tokens=TokenRate(median=1.0, mad=0.0, low=None, high=None),
        achieved_tflops=0.4,
        share_of_measured_peak=2.0,
    )
    found = written(tmp_path / "x", to_json(document(results=(dressed_up,))).encode()).results[0]
    assert found.samples_per_second == measured.samples_per_second
    assert found.step_seconds == measured.step_seconds
    assert found.tokens_per_second == pytest.approx(120_150.0)
    assert found.tokens is not None
    assert found.tokens.median == 300 * measured.samples_per_second.median
    assert found.achieved_tflops == pytest.approx(0.04)
    assert found.share_of_measured_peak == pytest.approx(0.2)
    assert written(tmp_path / "y", to_json(document()).encode()) == document()


def written(path: Path, data: bytes) -> Document:
    path.write_bytes(data)
    return lookup.read(path)


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    good = to_json(document())
    assert written(tmp_path / "x", b"\xef\xbb\xbf" + good.encode()) == document()


@pytest.mark.parametrize("number", [0, -1])
def test_an_invalid_schema_version_is_refused(tmp_path: Path, number: int) -> None:
    text = to_json(document(schema_version=number))
    with pytest.raises(lookup.SourceError, match=f"invalid schema version {number}"):
        written(tmp_path / "x", text.encode())


def test_an_endless_or_huge_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "LARGEST_RUN", 1 << 20)
    with pytest.raises(lookup.SourceError, match="cannot read /dev/zero: a device, not a regular file"):
        lookup.read(Path("/dev/zero"))
    (tmp_path / "huge.json").write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(
        lookup.SourceError, match=r"huge\.json: it is larger than 1 MiB, the limit for one run"
    ):
        lookup.read(tmp_path / "huge.json")
