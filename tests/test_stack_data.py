"""stack.yml as it is shipped, and what is said of one that is wrong."""

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


def test_the_shipped_file_is_sound_and_covers_what_dlbox_promises() -> None:
    assert [row.id for row in DATA.distributions] == [
        "ubuntu-22.04",
        "ubuntu-24.04",
        "ubuntu-26.04",
        "debian-12",
        "debian-13",
    ]
    assert {card.architecture for card in cards.catalogue()} <= {row.name for row in DATA.architectures}


def test_every_row_has_a_date_a_source_and_says_how_well_it_is_known() -> None:
    for table in ("architectures", "branches", "drivers", "frameworks", "libraries", "toolkits", "gaps"):
        for row in getattr(DATA, table):
            assert row.date <= DATA.date
            assert len(row.source) > 5
            assert row.verified in ("measured", "published", "memory", "derived")


def test_architectures_agree_with_the_card_catalogue() -> None:
    for card in cards.catalogue():
        row = DATA.architecture(card.architecture)
        assert row is not None
        assert card.compute_capability in row.capabilities
        assert (row.first_branch, row.last_branch) == (card.min_driver_branch, card.last_driver_branch)
        wanted = {"open": {"open"}, "closed": {"closed"}, "either": {"open", "closed"}}
        assert set(row.flavours) == wanted[card.module_flavour]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("branch: 580\n    kind", "branch: five\n    kind", r"line \d+: `branch` .*a whole number.*`five`"),
        (
            "    flavours: [closed]\n    why: Maxwell",
            "    why: Maxwell",
            r"line \d+: `maxwell` lacks `flavours`",
        ),
        (
            "    kind: production\n",
            "    kind: production\n    colour: red\n",
            r"line \d+: `colour` is not a field",
        ),
        ("verified: published", "verified: surely", r"line \d+: `verified` is expected to be .*`surely`"),
        ("version: 2.21.0", "version: 2.21", r"line \d+: `version` is expected to be text, got `2.21`"),
        ("version: 2.21.0", "version: 2.22.0rc0", r"`version` of row 1 of `frameworks`: expected a release"),
        ("date: 2026-11-22", "date: soon", r"line \d+: `date` is expected to be a date"),
        ("schema_version: 1", "schema_version: 2", r"`schema_version`: expected 1, got `2`"),
        (
            "distributions: [debian-13]",
            "distributions: [debian-31]",
            r"expected one of .*debian-13, got debian-31",
        ),
        (
            "nvidia-driver-580-open]",
            "cuda-drivers]",
            r"`packages` of row 1 .*cuda-drivers must not be used.*empty",
        ),
        ("nvidia-driver-580]", "nvidia-driver-615]", r"nvidia-driver-615 must not be used.*transitional"),
        ("nvidia-driver-580]", "nvidia-driver-570]", r"nvidia-driver-570 must not be used on ubuntu-26.04"),
        ("EB693B3035CD5710E231E123A4B469963BF863CC", "EB69", r"`fingerprint` of row 1 .*40 digits"),
        ('">=9.3.0.75,<10"', '"~=9.3"', r"`requires` of row 1 of `frameworks`: expected a range"),
        (
            '"==9.20.0.48"',
            '"==9.20.0.49"',
            r"`library` of row 3 .*expected a row nvidia-cudnn-cu13==9.20.0.49",
        ),
        ("  - branch: 535\n", "  - branch: 580\n", r"`branch` of row 4 of `branches`: 580 has a row already"),
        (
            "    branch: 535\n",
            "    branch: 700\n",
            r"`branch` of row 5 of `drivers`: expected one of .*got 700",
        ),
        (
            "    flavour: closed\n    origin: distribution",
            "    flavour: open\n    origin: distribution",
            "closed modules only",
        ),
        (
            "version: 535.261.03",
            "version: 550.1.2",
            r"`version` of row 5 of `drivers`: expected 535.x, got 550.1.2",
        ),
        (
            "/ubuntu2204/x86_64/",
            "/ubuntu2004/x86_64/",
            r"`uri` of row 1 .*/ubuntu2204/x86_64/, the release's own",
        ),
        ("/debian12/x86_64/", "/debian125/x86_64/", r"`uri` of row 4 of `repositories`: .*/debian12/x86_64/"),
        ("https://developer", "http://developer", r"`uri` of row 1 of `repositories`: expected https"),
        ("{headers}", "{header}", r"`packages` of row 2 of `drivers`: expected names of packages"),
        (
            "nvidia-driver-580]",
            "nvidia-driver-580; reboot]",
            r"`packages` of row 3 .*expected names of packages",
        ),
        (
            'dlbox: ["3.11", "3.13"]',
            'dlbox: ["3.13", "3.11"]',
            r"`dlbox` of row 1 of `python`: .*lowest first",
        ),
        (
            "id: debian-12",
            "id: bookworm",
            r"`id` of row 4 of `distributions`: expected a name as ubuntu-24.04",
        ),
        ("min_driver: 525\n    code", "code", r"`device` of row 1 of `frameworks`: a gpu row needs"),
        (
            'documented_from: "5.2"',
            "documented_from: all",
            r"`documented_from` of row \d+ of `frameworks`: expected a rel",
        ),
        (
            "[nvidia-cuda-toolkit]",
            "[cuda-drivers]",
            r"`packages` of row 1 of `toolkits`: cuda-drivers must not",
        ),
        (
            "[nvidia-cuda-toolkit]",
            "['{headers}; reboot']",
            r"`packages` of row 1 of `toolkits`: expected names",
        ),
        ("version: 11.8.89", "version: latest", r"`version` of row 1 of `toolkits`: expected a release"),
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
        ("keyring: cuda-keyring", "keyring: ../../cuda-keyring", r"`keyring` of row 1 .*a file's name"),
        ("pins: {", "pins: {--index-url: '1.0', ", r"`pins` of row \d+ of `frameworks`: expected names"),
    ],
)
def test_a_wrong_row_is_named_with_line_field_and_what_is_expected(old: str, new: str, expected: str) -> None:
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
    said = ""
    try:
        loaded = parse(yaml.dump(data, Dumper=_NoAliases, sort_keys=False), "mine.yml")
    except StackFileError as error:
        said = str(error)
    if said:
        assert re.match(r"mine\.yml, line \d+: .+\Z", said)
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
    assert "no jax wheel is known" in found.missing["jax"]


def test_a_file_that_never_ends_is_refused() -> None:
    with pytest.raises(StackFileError, match="a device, not a regular file"):
        load(Path("/dev/zero"))
