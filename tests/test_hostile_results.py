"""Hostile result files: no value in them names a file, and each accepted file can be exported in all formats."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import xml.etree.ElementTree as ElementTree  # nosec: made here
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.finding import Finding, Status
from bench.results.export import tensorboard
from bench.results.export.junit import junit_xml
from bench.results.export.prometheus import prometheus_text
from bench.results.export.spreadsheet import csv_table
from bench.results.record.card import Series, Telemetry
from bench.results.record.document import Document, to_json
from bench.results.report import page
from bench.results.store import archive, lookup
from bench.results.store.history import History, default_path
from common.file_access import files
from inventory.machine.gpu_records import Gpu
from tests.conftest import Command
from tests.samples import document, machine, result, telemetry
from tests.test_impossible_figures import Place, originals, show

HOSTILE = (
    "../../x", "/etc/x", "..", ".", "", "a/b", "x" * 300, "\x00", "a\nb", "\x1b[31m", "-rf", "~", "$HOME", "$x$",
    "{{ 7*7 }}", "<script>", "=1+1", "ü/..", "con:", "\u202ea", "%2e%2e%2f", "a b", "\\..\\x",
)  # fmt: skip
FIELDS: tuple[Place, ...] = (
    ("command",),
    ("started_at",),
    ("dlbox_version",),
    ("run_id",),
    ("report",),
    ("machine", "host", "hostname"),
    ("findings", 0, "id"),
    ("probes", "backend"),
    ("results", 0, "workload"),
    ("results", 0, "backend"),
    ("results", 0, "precision"),
    ("results", 0, "fingerprint"),
    ("results", 0, "variant"),
    ("results", 0, "batch_kind"),
    ("results", 0, "versions", "keras"),
    ("results", 0, "telemetry", "samples", "second"),
)
"""Of a document with a card: what is part of a file name, a chart, a label, or a list of runs."""


def put(made: Any, place: Place, value: object) -> Any:
    """A copy of the JSON ``made`` with ``value`` at ``place``."""
    copy = json.loads(json.dumps(made))
    inner = copy
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return copy


def taken(made: Any) -> Document | None:
    """The document in a file with this content; None if the file is refused with one short sentence."""
    try:
        return lookup.decode(json.dumps(made).encode(), "x.json")
    except lookup.SourceError as refusal:
        told = str(refusal)
    assert told.isprintable()
    assert len(told) < 300
    return None


def everything_below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize("field", FIELDS)
def test_no_field_names_a_file_outside_of_the_folder(tmp_path: Path, field: Place) -> None:
    """This applies to files, and to documents stored by earlier versions, which accepted any name."""
    for number, text in enumerate(HOSTILE):
        made = put(originals()[1], field, text)
        folder = tmp_path / str(number)
        found = taken(made)
        if found is None:
            try:
                found = msgspec.json.decode(json.dumps(made), type=Document)
                tensorboard.datetime.fromisoformat(found.started_at).timestamp()
            except (msgspec.MsgspecError, ValueError):
                continue
        name = page.file_name(found)
        assert Path(name).name == name
        assert len(name) < 150
        paths = tensorboard.write(found, folder / "asked")
        assert [p.name for p in folder.iterdir()] == ["asked"]
        assert all(p.resolve().is_relative_to((folder / "asked").resolve()) for p in paths)


def test_the_report_of_a_file_stays_in_the_folder(dlbox: Command, tmp_path: Path) -> None:
    file, folder = tmp_path / "x.json", tmp_path / "deep" / "asked"
    for command in ("../../../pwned", "/tmp/pwned", "a/b", "ready\n", "x" * 300):
        file.write_text(to_json(document(command=command)))
        for arguments in (("report", str(file), "--output", str(folder)), ("history", "import", str(file))):
            done = dlbox(*arguments)
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), arguments
        assert everything_below(tmp_path) == [file]
    file.write_text(to_json(document()))
    folder.mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("before")
    (folder / "dlbox-ready-20261122200000.html").symlink_to(elsewhere)
    done = dlbox("report", str(file), "--output", str(folder))
    assert done.returncode == 0, done.stderr
    assert elsewhere.read_text() == "before", "a link with the name of the page is replaced"
    assert "<html" in (folder / "dlbox-ready-20261122200000.html").read_text()


def test_a_link_below_the_folder_is_not_followed(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "asked", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (folder / "run7").symlink_to(elsewhere)
    with pytest.raises(OSError, match="leads to another folder"):
        tensorboard.write(document(run_id=7), folder)
    assert everything_below(elsewhere) == []


@given(st.lists(st.text() | st.sampled_from(HOSTILE), min_size=1, max_size=4))
def test_a_safe_name_is_one_plain_file_name(parts: list[str]) -> None:
    name = files.safe_name(*parts)
    assert Path(name).name == name
    assert 0 < len(name) <= 100
    assert name.isascii()
    assert not name.startswith((".", "-"))
    assert ".." not in name
    if any(parts):
        assert files.safe_name(*parts) != files.safe_name(*parts, "x")


def test_names_that_differ_only_in_replaced_characters_stay_different() -> None:
    assert files.safe_name("a b") != files.safe_name("a_b") == "a_b"
    assert files.safe_name("x" * 200 + "a") != files.safe_name("x" * 200 + "b")


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (Series(second=(0.0, 1.0), sm_mhz=(1,)), "`telemetry.samples.sm_mhz` and `second` differ in length"),
        (Series(second=(0.0, 1.0), event_reasons=(1, 2, 3)), "event_reasons` and `second` differ"),
        (Series(second=(), power_w=(1.0,)), "power_w` and `second` differ"),
        (Series(second=(0.0, 2.0, 1.0)), "`telemetry.samples.second` goes back in time"),
    ],
)
def test_readings_that_cannot_be_drawn_are_refused_by_report_and_import(samples: Series, words: str) -> None:
    text = to_json(document(results=(result("lstm", telemetry=telemetry(samples=samples)),))).encode()
    for take in (lookup.decode, archive.documents):
        with pytest.raises(lookup.SourceError, match=words.replace(".", r"\.")):
            take(text.replace(b"\n", b""), "x.json")


def test_timed_spans_that_end_before_they_start_are_refused() -> None:
    made = document(results=(result("lstm", telemetry=telemetry(timed=((3.0, 1.0),))),))
    with pytest.raises(lookup.SourceError, match="ends before it starts"):
        lookup.decode(to_json(made).encode(), "x.json")


@pytest.mark.parametrize(
    "column", ["sm_mhz", "temperature_c", "power_w", "utilisation_percent", "event_reasons"]
)
def test_stored_readings_that_cannot_be_drawn_are_left_out(tmp_path: Path, column: str) -> None:
    """Earlier versions stored them."""
    whole = telemetry()
    for values in ((), (1, 2, 3), tuple(range(500))):
        samples = msgspec.structs.replace(whole.samples, **{column: values})
        made = document(results=(result("lstm", telemetry=telemetry(samples=samples)),))
        assert "<html" in page.render(made)
        tensorboard.write(made, tmp_path)
    page.render(document(results=(result("lstm", telemetry=Telemetry(samples=Series(second=(0.0, 1.0)))),)))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (document(results=tuple(result("lstm", batch_size=n) for n in range(1, 200))), "`results` has 199 entries"),
        (document(results=(result("lstm", repeats=result("lstm").repeats * 3000),)), "`repeats` has 3,000 entries"),
        (document(findings=document().findings * 2000), "`findings` has 6,000 entries"),
        (document(options={f"o{n}": n for n in range(5000)}), "`options` has 5,000 entries"),
        (document(machine=machine(gpus=(Gpu(index=0),) * 300)), "`gpus` has 300 entries"),
        (document(findings=(Finding(id="a.b", status=Status.PASS, title="x", message="x" * 50_000),)), "text has 50,"),
    ],
)  # fmt: skip
def test_documents_that_are_too_large_for_a_page_are_refused(made: Document, words: str) -> None:
    with pytest.raises(lookup.SourceError, match=words):
        lookup.decode(to_json(made).encode(), "x.json")


def nodes(value: Any, at: Place = ()) -> Iterator[Place]:
    """Every place but the root."""
    steps = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    for step, one in steps:
        yield (*at, step)
        yield from nodes(one, (*at, step))


def sampled(value: Any) -> Any:
    """The document with at most three entries in each list, as the places of a long one are alike."""
    if isinstance(value, dict):
        return {name: sampled(one) for name, one in value.items()}
    return [sampled(one) for one in value[:3]] if isinstance(value, list) else value


NODES = [(which, place) for which in range(3) for place in nodes(sampled(originals()[which]))]
VALUES: tuple[Any, ...] = (None, "", True, 0, 1, -1, 0.5, 1e18, 2**62, [], {}, [[]], *HOSTILE)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A sound document with one to three changes: another value, nothing, less, more, or in another order."""
    which, place = draw(st.sampled_from(NODES))
    made = json.loads(json.dumps(originals()[which]))
    for _ in range(draw(st.integers(1, 3))):
        inner: Any = made
        try:
            for step in place[:-1]:
                inner = inner[step]
            old = inner[place[-1]]
        except (KeyError, IndexError, TypeError):
            continue
        match draw(st.sampled_from(["value", "key", "remove", "cut", "longer", "reversed", "elsewhere"])):
            case "value":
                inner[place[-1]] = draw(
                    st.sampled_from(VALUES) | st.floats(allow_nan=False, allow_infinity=False)
                )
            case "key" if isinstance(inner, dict):
                inner[draw(st.sampled_from(HOSTILE))] = inner.pop(place[-1])
            case "remove":
                del inner[place[-1]]
            case "cut" if isinstance(old, list | str):
                inner[place[-1]] = old[: draw(st.integers(0, 3))]
            case "longer" if isinstance(old, list | str):
                inner[place[-1]] = old * draw(st.sampled_from([2, 3, 7, 50]))
            case "reversed" if isinstance(old, list):
                inner[place[-1]] = old[::-1]
            case "elsewhere":
                other, from_place = draw(st.sampled_from(NODES))
                value: Any = originals()[other]
                for step in from_place:
                    value = value[step]
                inner[place[-1]] = json.loads(json.dumps(value))
        _, place = draw(st.sampled_from([node for node in NODES if node[0] == which]))
    return made


def refused_or_written_in_every_form(made: Any) -> None:
    found = taken(made)
    if found is None:
        return
    show(found)
    ElementTree.fromstring(junit_xml(found))  # noqa: S314 - made here
    prometheus_text(found)
    with tempfile.TemporaryDirectory() as folder:
        tensorboard.write(found, Path(folder))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(mutated())
def test_a_mutated_document_is_refused_or_written_in_every_form(made: Any) -> None:
    refused_or_written_in_every_form(made)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(mutated())
def test_many_mutated_documents(made: Any) -> None:
    refused_or_written_in_every_form(made)


def test_formulas_are_escaped_in_the_csv_table() -> None:
    host = msgspec.structs.replace(machine().host, cpu_model="=HYPERLINK(0)", hostname="+box")
    made = document(
        machine=machine(host=host),
        results=(result("lstm", device="@card", data=" =x"), result("gru", device="cpu = 1", data="-")),
    )
    first, second = csv.DictReader(io.StringIO(csv_table(made)))
    assert [first[name] for name in ("cpu_model", "hostname", "device", "data")] == [
        "'=HYPERLINK(0)", "'+box", "'@card", "' =x",
    ]  # fmt: skip
    assert (second["device"], second["data"]) == ("cpu = 1", "'-")
    assert float(first["samples_per_second"]) == made.results[0].samples_per_second.median


@given(st.text(), st.text(), st.floats())
def test_exported_findings_are_well_formed(name: str, text: str, measured: float) -> None:
    host = msgspec.structs.replace(machine().host, hostname=name)
    finding = Finding(
        theme=name or "x",
        check="x",
        subject=text or None,
        status=Status.PASS,
        title=text,
        message=name,
        measured=measured,
        unit=text,
    )
    made = document(machine=machine(host=host), findings=(finding,), command=name)
    ElementTree.fromstring(junit_xml(made))  # noqa: S314 - made here
    lines = prometheus_text(made).split("\n")
    assert all(line.startswith(("#", "dlbox_")) for line in lines if line)
    (line,) = (line for line in lines if line.startswith("dlbox_check_measured{"))
    value = line.rpartition("} ")[2]
    assert value in ("NaN", "+Inf", "-Inf") or float(value) == measured


def test_a_pipe_without_a_writer_is_refused_at_once(dlbox: Command, tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    for arguments in (("report",), ("history", "import"), ("compare", "1")):
        done = dlbox(*arguments, str(tmp_path / "pipe"), timeout=30)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    History(default_path()).close()
    done = dlbox("report", str(tmp_path))
    assert (done.returncode, done.stderr) == (
        2,
        f"dlbox: cannot read {tmp_path}: Is a directory, not a regular file\n",
    )
