"""stack.yml as it is shipped, and the messages about a wrong one."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from inventory.cards import cards
from provision.resolve.load import DEFAULT_PATH, StackFileError, load, parse
from provision.resolve.stack import NoStack, Request, Stack, Target, resolve

TEXT = DEFAULT_PATH.read_text(encoding="utf-8")
DATA = load()


def broken(old: str, new: str, count: int = 1) -> str:
    """The message about the shipped file with one thing changed."""
    assert old in TEXT
    with pytest.raises(StackFileError) as caught:
        parse(TEXT.replace(old, new, count))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("stack.yml")
    return message


def test_the_shipped_files_are_sound_and_cover_every_supported_release() -> None:
    required = {"ubuntu-22.04", "ubuntu-24.04", "ubuntu-26.04", "debian-12", "debian-13"}
    assert required <= {row.id for row in DATA.distributions}
    assert {card.architecture for card in cards.catalogue()} <= {row.name for row in DATA.architectures}


def test_every_row_has_a_date_a_source_and_says_how_well_it_is_known() -> None:
    rows = [*DATA.architectures, *DATA.branches, *DATA.frameworks, *DATA.libraries, *DATA.gaps]
    for each in DATA.distributions:
        rows += [
            each,
            *each.drivers,
            *each.toolkits,
            *each.forbidden,
            *([each.repository] if each.repository else []),
        ]
    assert len(rows) > 50
    for row in rows:
        assert row.date <= DATA.date
        assert len(row.source) > 5
        assert row.verified in ("measured", "published", "memory", "derived")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("branch: 580\n    kind", "branch: five\n    kind", r"line \d+: `branch` .*a whole number.*`five`"),
        (
            "    kind: production\n",
            "    kind: production\n    colour: red\n",
            r"line \d+: `colour` is not a field",
        ),
        ("    kind: production\n", "", r"line \d+: entry 2 of `branches` lacks `kind`"),
        ("verified: published", "verified: surely", r"line \d+: `verified` is expected to be .*`surely`"),
        ("version: 2.21.0", "version: 2.21", r"line \d+: `version` is expected to be text, got `2.21`"),
        ("version: 2.21.0", "version: 2.22.0rc0", r"`version` of row 1 of `frameworks`: expected a release"),
        ("date: 2026-11-22", "date: soon", r"line \d+: `date` is expected to be a date"),
        ("schema_version: 2", "schema_version: 1", r"`schema_version`: expected 2, got `1`"),
        ('">=9.3.0.75,<10"', '"~=9.3"', r"`requires` of row 1 of `frameworks`: expected a range"),
        (
            '"==9.20.0.48"',
            '"==9.20.0.49"',
            r"`library` of row 3 .*expected a row nvidia-cudnn-cu13==9.20.0.49",
        ),
        ("  - branch: 535\n", "  - branch: 580\n", r"`branch` of row 4 of `branches`: 580 has a row already"),
        (
            'dlbox: ["3.11", "3.13"]',
            'dlbox: ["3.13", "3.11"]',
            r"`dlbox` of row 1 of `python`: .*lowest first",
        ),
        ("min_driver: 525\n    code", "code", r"`device` of row 1 of `frameworks`: a gpu row needs"),
        (
            'documented_from: "5.2"',
            "documented_from: all",
            r"`documented_from` of row \d+ of `frameworks`: expected a rel",
        ),
        (
            "tool_version: 0.13.9",
            "tool_version: newest",
            r"`tool_version` of row 1 of `python`: expected a release",
        ),
        ('minimum: "3.15"', 'minimum: "3.99"', r"`minimum` of row 1 of `keras`: expected at most version"),
        (
            "requirement: tensorflow[and-cuda]",
            "requirement: tensorflow>=2",
            r"`requirement` of row 1 .*without a version",
        ),
        ("pins: {", "pins: {--index-url: '1.0', ", r"`pins` of row \d+ of `frameworks`: expected names"),
        (
            "package: cuda-drivers",
            "package: cuda drivers",
            r"`package` of row 1 of `forbidden`: expected a name",
        ),
        ("index: https://", "index: http://", r"`index` of row \d+ of `frameworks`: expected https"),
    ],
)
def test_a_wrong_row_is_named_with_line_field_and_expected_value(old: str, new: str, expected: str) -> None:
    assert re.search(expected, broken(old, new))


def test_tables_that_are_missing_empty_or_unknown() -> None:
    assert "`holes` is not a field known here" in broken("\ngaps:", "\nholes:")
    with pytest.raises(StackFileError, match="expected a mapping"):
        parse("- a list")
    with pytest.raises(StackFileError, match="expected a mapping"):
        parse("")
    with pytest.raises(StackFileError, match=r"line \d: not valid YAML"):
        parse("date: [")
    start, end = TEXT.index("\ngaps:"), TEXT.index("\nkeras:")
    with pytest.raises(StackFileError, match="`gaps` is expected to have at least one row"):
        parse(TEXT[:start] + "\ngaps: []\n" + TEXT[end:])


def test_the_file_itself_may_be_unreadable(tmp_path: Path) -> None:
    with pytest.raises(StackFileError, match=r"missing.yml cannot be read: No such file"):
        load(tmp_path / "missing.yml")
    with pytest.raises(StackFileError, match="cannot be read: Is a directory"):
        load(tmp_path)
    path = tmp_path / "binary.yml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StackFileError, match="is not text in UTF-8"):
        load(path)


class _NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


PLAIN = yaml.safe_load(TEXT)
TABLES = [name for name, value in PLAIN.items() if isinstance(value, list)]
PASCAL = Target(name="old", architecture="pascal", capability="6.1")
BLACKWELL = Target(name="new", architecture="blackwell")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(TABLES),
            st.integers(0, 30),
            st.sampled_from(
                ["drop", *sorted({field for table in TABLES for row in PLAIN[table] for field in row})]
            ),
            st.sampled_from(
                [None, "", "x", 0, "9.9", [], ["{x}"], {}, "open", 1e9, ["3.12", "3.10"], "3.12"]
            ),
        ),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=40, deadline=None)
def test_any_file_is_refused_in_a_sentence_or_gives_an_answer(
    changes: list[tuple[str, int, str, object]],
) -> None:
    data = copy.deepcopy(PLAIN)
    for table, number, field, value in changes:
        rows = data[table]
        if field == "drop" and len(rows) > 1:
            del rows[number % len(rows)]
        elif rows and field in rows[number % len(rows)]:
            rows[number % len(rows)][field] = value
    message = ""
    try:
        loaded = parse(yaml.dump(data, Dumper=_NoAliases, sort_keys=False), "mine.yml")
    except StackFileError as error:
        message = str(error)
    if message:
        assert re.match(r"(mine|[a-z]+-[0-9.]+)\.yml, line \d+: .+\Z", message)
        return
    for targets in ((), (PASCAL,), (BLACKWELL,), (PASCAL, BLACKWELL)):
        for on in ("ubuntu-24.04", "debian-12", "fedora-40"):
            request = Request(distribution=on, targets=targets, cuda_toolkit=True)
            assert isinstance(resolve(request, loaded, loaded.date), Stack | NoStack)


def test_a_file_without_a_framework_still_answers() -> None:
    data = copy.deepcopy(PLAIN)
    for table in ("frameworks", "gaps"):
        data[table] = [row for row in data[table] if row["framework"] != "jax"]
    loaded = parse(yaml.dump(data, Dumper=_NoAliases, sort_keys=False))
    found = resolve(Request(distribution="ubuntu-24.04", targets=(PASCAL,)), loaded, loaded.date)
    assert isinstance(found, Stack)
    assert "dlbox knows no jax wheel" in found.missing["jax"]


def test_a_file_that_never_ends_is_refused() -> None:
    with pytest.raises(StackFileError, match="a device, not a regular file"):
        load(Path("/dev/zero"))
