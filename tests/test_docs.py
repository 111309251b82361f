"""The documents: generated pages are current, links and paths exist, every page is in its index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import decision_index
from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md"))
DECISIONS = sorted((DOCS / "decisions").glob("[0-9]*.md"))
SOURCES = sorted(
    path
    for name in ("bench", "common", "inventory", "provision", "tests", "workshops")
    for path in (ROOT / name).rglob("*")
    if path.suffix in (".py", ".yml", ".j2") and path != Path(__file__)
)
NAMED = re.compile(r"\bdocs/[\w/.-]+\.(?:md|json|png)\b")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", DECISIONS, ids=name)
def test_a_decision_has_all_fields(path: Path) -> None:
    decision = decision_index.read(path)
    assert list(decision.sections)[:3] == list(decision_index.SECTIONS[:3])
    assert list(decision.sections) == [s for s in decision_index.SECTIONS if s in decision.sections]
    assert all(decision.sections.values())


def test_decisions_are_numbered_by_date_without_gaps() -> None:
    found = decision_index.decisions()
    assert [one.number for one in found] == [f"{n:04d}" for n in range(1, len(found) + 1)]
    assert [one.date for one in found] == sorted(one.date for one in found)


def test_a_superseding_decision_exists_and_is_newer() -> None:
    found = {one.number: one for one in decision_index.decisions()}
    replaced = [one for one in found.values() if one.superseded_by]
    assert replaced
    for one in replaced:
        assert one.superseded_by is not None
        assert one.number < one.superseded_by
        assert one.superseded_by in found


@pytest.mark.parametrize(
    "change",
    [("- Date: 2026-11-22\n", ""), ("accepted", "maybe"), ("# 0001:", "# 0002:"), ("# 0001: ", "0001 ")],
)
def test_a_decision_without_a_field_is_refused(change: tuple[str, str], tmp_path: Path) -> None:
    text = "# 0001: A title\n\n- Date: 2026-11-22\n- Status: accepted\n\n## Context\n\nx\n"
    path = tmp_path / "0001-a-title.md"
    path.write_text(text, encoding="utf-8")
    assert decision_index.read(path).sections == {"Context": "x"}
    path.write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(ValueError, match=r"0001-a-title\.md: "):
        decision_index.read(path)


def test_the_index_of_pages_names_every_page() -> None:
    named = set(re.findall(r"\]\(([^)#]+\.md)\)", (DOCS / "README.md").read_text(encoding="utf-8")))
    pages = {str(path.relative_to(DOCS)) for path in PAGES if path not in DECISIONS}
    assert named == pages - {"README.md"}


@pytest.mark.parametrize("path", [*PAGES, *sorted(ROOT.glob("*.md"))], ids=name)
def test_relative_links_lead_to_files(path: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    missing = [t for t in targets if t and "://" not in t and not (path.parent / t).exists()]
    assert not missing


@pytest.mark.parametrize("path", [p for p in SOURCES if NAMED.search(p.read_text("utf-8"))], ids=name)
def test_documents_that_the_code_names_exist(path: Path) -> None:
    missing = [n for n in NAMED.findall(path.read_text(encoding="utf-8")) if not (ROOT / n).exists()]
    assert not missing


RECIPES = ("health check", "card", "lesson", "distribution", "workload", "chart", "export format")
PENDING = {
    "workshops/models/workshop.py",
    *(
        f"workshops/lessons/NAME/{name}.py"
        for name in ("__init__", "page", "run", "expected", "exercises", "checks", "solutions")
    ),
}
"""Paths of CONTRIBUTING that changes on their way bring. Entries are removed, never added."""


def recipes() -> dict[str, str]:
    """The text of each section "Add a ..." of CONTRIBUTING."""
    parts = re.split(
        r"^## (.+)\n", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    return {
        re.sub(r"Add an? ", "", title): text for title, text in sections.items() if title.startswith("Add ")
    }


def test_contributing_has_a_numbered_recipe_for_each_kind_of_addition() -> None:
    found = recipes()
    assert tuple(found) == RECIPES
    for text in found.values():
        numbers = [int(number) for number in re.findall(r"^(\d)\. ", text, re.MULTILINE)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) > 1


@pytest.mark.parametrize("name", RECIPES)
def test_the_files_of_a_recipe_exist(name: str) -> None:
    """A word in capitals is a placeholder: at least one file must match."""
    named = re.findall(r"`([a-z][\w.*-]*/[\w./*-]+)`", recipes()[name])
    patterns = {path: re.sub(r"(?<![A-Z])[A-Z]{2,}(?![A-Z])", "*", path) for path in named}
    missing = {path for path, pattern in patterns.items() if not list(ROOT.glob(pattern))}
    assert len(named) > 1
    assert missing <= PENDING


def test_the_readme_is_short_and_in_the_order_of_a_newcomer() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("\n") < 150
    headings = ["Two commands", "From bare Ubuntu to READY", "Commands", "Where to read on"]
    assert re.findall(r"^## (.+)", text, re.MULTILINE) == headings
    first = text.split("## ")[0]
    assert "docs/report.png" in first
    assert "./dlbox ready" in text.split("## ")[1]
    assert "./dlbox test" in text.split("## ")[1]
    assert "<!-- READY -->\n```\n" in text, "tests/benchmarks/pictures.py writes below this mark"
