"""Every generated file of the repository, and the command that writes them: ``./dlbox regenerate``.

To add a generated file, add one function with the decorator ``generates``. Three kinds of files are not here: lock
files, which need the package index (``locks/update.sh``); measured figures and the output in README, which need a quiet
machine (``tests/benchmarks``); and expected outputs that a person has to look at (``tests/golden``).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

Generator = Callable[[], str]

GENERATORS: dict[str, Generator] = {}
"""Path of each generated file, relative to the repository, and the function that returns its text."""


def generates(path: str) -> Callable[[Generator], Generator]:
    """Register the decorated function as the generator of ``path``. ValueError if ``path`` has one already."""

    def register(generator: Generator) -> Generator:
        if path in GENERATORS:
            raise ValueError(f"two generators write {path}")
        GENERATORS[path] = generator
        return generator

    return register


@generates("bench/results/record/schema.json")
def result_schema() -> str:
    """The JSON Schema of a result document."""
    import msgspec

    from bench.results.record.document import json_schema

    return msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode() + "\n"


@generates("docs/reference/cards.md")
def cards() -> str:
    """The supported cards, from inventory/cards/cards.yml."""
    from inventory.cards import page

    return page.page()


@generates("docs/reference/checks.md")
def checks() -> str:
    """The health checks, from the functions in bench/health."""
    from tests import checks_page

    return checks_page.page()


@generates("docs/reference/commands.md")
def commands() -> str:
    """The commands and their options, from the command line."""
    from tests import commands_page

    return commands_page.page()


@generates("docs/reference/compatibility.md")
def compatibility() -> str:
    """Which versions a card gets on a distribution, from the resolver."""
    from provision.resolve import compatibility
    from provision.resolve.load import load

    return compatibility.page(load())


@generates("locks/cards.tsv")
def builds_by_card() -> str:
    """Which frameworks of the lock files run on which cards, for the launcher."""
    from provision.artifacts import builds

    return builds.table()


@generates("docs/decisions/README.md")
def decisions() -> str:
    """The index of the decisions, from their files."""
    from tests import decision_index

    return decision_index.page()


@generates("docs/evidence/lessons.md")
def lessons() -> str:
    """The results of the lessons, from the stored figures."""
    from tests.benchmarks import lessons

    return lessons.render(lessons.load())


@generates("docs/evidence/lesson-pace.md")
def lesson_speed() -> str:
    """The speed of the lessons, from the stored figures."""
    from tests.benchmarks import lesson_pace

    return lesson_pace.render(json.loads(lesson_pace.KEPT.read_text(encoding="utf-8")))


@cache
def _role_metadata() -> dict[Path, str]:
    """The metadata of each role whose platforms are not those of the distribution files."""
    from provision.distributions import role_metas

    return dict(role_metas.changed_metas(ROOT / "provision" / "roles", role_metas.shipped()))


def _register_roles() -> None:
    for file in sorted((ROOT / "provision" / "roles").glob("*/meta/main.yml")):

        def platforms(file: Path = file) -> str:
            """The metadata of a role; its platforms are from provision/distributions."""
            return _role_metadata().get(file) or file.read_text(encoding="utf-8")

        generates(str(file.relative_to(ROOT)))(platforms)


_register_roles()


def outdated(folder: Path) -> dict[Path, str]:
    """Each file below ``folder`` whose content differs from what its generator returns, with the new content.

    A missing file counts as different. The generators read the repository that this module is in. Raises OSError and
    UnicodeDecodeError if a file cannot be read.
    """
    found = {}
    for path, generator in sorted(GENERATORS.items()):
        text, file = generator(), folder / path
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            found[file] = text
    return found


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0, or with ``--check`` 1 if a file is outdated."""
    parser = argparse.ArgumentParser(
        prog="./dlbox regenerate", description="Write every generated file of the repository again."
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit code 1 if a file is outdated"
    )
    parser.add_argument(
        "--into", type=Path, default=ROOT, metavar="FOLDER", help="another copy of the repository"
    )
    parser.add_argument("--list", action="store_true", help="print the generated files and what they contain")
    options = parser.parse_args(arguments)
    if options.list:
        for path, generator in sorted(GENERATORS.items()):
            print(f"{path}: {(generator.__doc__ or '').strip()}")
        return 0
    changed = outdated(options.into)
    for file, text in changed.items():
        if not options.check:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        print(f"{'outdated' if options.check else 'written'}: {file.relative_to(options.into)}")
    print(f"{len(GENERATORS)} generated files, {len(changed)} {'outdated' if options.check else 'changed'}")
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
