"""Files with impossible figures are refused in one sentence; files that are accepted can be shown in all formats."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from bench.results.export.registry import formats
from bench.results.record.document import Document, to_json
from bench.results.record.figures import Memory, Scaling
from bench.results.report import markdown, page
from bench.results.stats.compare import compare
from bench.results.store import lookup, validate
from bench.results.terminal import comparison, results
from tests import pages
from tests.conftest import Command
from tests.samples import document, result

Place = tuple[str | int, ...]
IMPOSSIBLE = (-1, -300, -1e-9, -1e300, 1e300, 5e9, 10**30, 2**63, 1e-300, 0, 10**400, -(10**400))


@cache
def originals() -> tuple[Any, ...]:
    """Sound documents that hold nearly every figure there is, as JSON gives them."""
    several = result(
        "lstm", tokens_per_sample=300, tokens_per_second=120_150.0, devices=2,
        scaling=Scaling(engine="DDP", devices=("cpu:0", "cpu:1"), batch_per_device=16, replicas_differ_by=1e-6,
                        one_device_samples_per_second=300.0, speedup=1.3, efficiency=0.65),
        memory=Memory(peak_bytes=5 << 30, method="torch's allocator"),
    )  # fmt: skip
    one = pages.twelve()
    small = msgspec.structs.replace(one, results=one.results[:2])
    made = (small, pages.on_card(), document(results=(several,)))
    return tuple(json.loads(to_json(each)) for each in made)


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """Where numbers stand; of a long list its first and last do."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from places(one, (*at, name))
    elif isinstance(value, list):
        for number in sorted({0, len(value) - 1} if value else ()):
            yield from places(value[number], (*at, number))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield at


def changed(which: int, place: Place, number: float) -> bytes:
    made = json.loads(json.dumps(originals()[which]))
    inner = made
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = number
    return json.dumps(made).encode()


def show(made: Document) -> None:
    """In every form that a person or a program can ask for."""
    page.render(made, [])
    markdown.markdown(made)
    for export_format in formats("run"):
        if export_format.render is not None:
            export_format.render(made)
    console = Console(width=80, file=io.StringIO(), no_color=True)
    results.show(made, console)
    comparison.show(compare(made, lookup.decode(to_json(made).encode(), "x")), console)


EVERY = [(which, place) for which in range(3) for place in places(originals()[which])]


def test_valid_documents_are_shown() -> None:
    assert len(EVERY) > 250
    for original in originals():
        show(lookup.decode(json.dumps(original).encode(), "x"))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.sampled_from(EVERY), st.sampled_from(IMPOSSIBLE))
def test_one_impossible_number_is_refused_or_shown(where: tuple[int, Place], number: float) -> None:
    refused_or_shown(where, number)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.sampled_from(EVERY), st.sampled_from(IMPOSSIBLE) | st.floats() | st.integers())
def test_many_impossible_numbers(where: tuple[int, Place], number: float) -> None:
    refused_or_shown(where, number)


def refused_or_shown(where: tuple[int, Place], number: float) -> None:
    try:
        made = lookup.decode(changed(*where, number), "x.json")
    except lookup.SourceError as refusal:
        told = str(refusal)
    else:
        show(made)
        return
    assert told.startswith("x.json ")
    assert "\n" not in told


@pytest.mark.parametrize(
    ("place", "number", "words"),
    [
        (
            ("results", 0, "work", "flop_per_sample"),
            -1,
            "`work.flop_per_sample` of lstm is below the minimum of",
        ),
        (("probes", "matmul_tflops", "fp32"), -3, "`probes.matmul_tflops.fp32` is below"),
        (("results", 0, "devices"), 0, "`devices` of lstm is below"),
        (("results", 0, "devices"), -3, "`devices` of lstm is below"),
        (("results", 0, "memory", "peak_bytes"), -5, "`memory.peak_bytes` of lstm is below"),
        (("results", 0, "tokens_per_sample"), -300, "`tokens_per_sample` of lstm is below"),
        (("results", 0, "input", "share"), 5e9, "`input.share` of lstm is above"),
        (("results", 0, "tokens_per_second"), 1e300, "`tokens_per_second` of lstm is above"),
        (("machine", "host", "memory_bytes"), 10**25, "`machine.host.memory_bytes` is above"),
        (("run_id",), -5, "`run_id` is below"),
        (
            ("results", 0, "repeats", 0, "blocks", 0, "examples"),
            10**400,
            "a block of lstm has an impossible time",
        ),
        (
            ("results", 0, "repeats", 0, "blocks", 0, "steps"),
            10**400,
            "`repeats.blocks.steps` of lstm is above",
        ),
    ],
)
def test_each_command_refuses_an_impossible_figure_in_one_sentence(
    dlbox: Command, tmp_path: Path, place: Place, number: float, words: str
) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(changed(0, place, number))
    with pytest.raises(lookup.SourceError) as caught:
        lookup.read(file)
    assert words in str(caught.value)
    if place[-1] != "flop_per_sample":
        return  # one for all: each command takes files in by the same way
    for arguments in (
        ("report", str(file)),
        ("compare", str(file), str(file)),
        ("history", "import", str(file)),
    ):
        done = dlbox(*arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert words in done.stderr


@pytest.mark.parametrize("digits", [400, 4_300, 5_000, 100_000])
@pytest.mark.parametrize(
    "field", ["schema_version", "run_id", "batch_size", "examples", "seconds", "parameters"]
)
def test_a_number_of_any_length_is_refused_in_one_sentence(field: str, digits: int) -> None:
    text = re.sub(rf'"{field}": ?[0-9.]+', f'"{field}": {"7" * digits}', to_json(document(run_id=1)), count=1)
    assert "7" * digits in text
    with pytest.raises(lookup.SourceError) as caught:
        lookup.decode(text.encode(), "x.json")
    assert str(caught.value).startswith("x.json ")
    assert len(str(caught.value)) < 300


def test_documents_of_dlbox_are_within_the_ranges() -> None:
    for made in (pages.twelve(), pages.full(), pages.on_card(), pages.cut_short()):
        assert validate.fault(made) is None
