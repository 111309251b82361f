"""The structure of the project: layers, sizes and names of its modules, and the commands that people see."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click

from tests.conftest import ROOT

PACKAGES = ("common", "inventory", "provision", "bench", "workshops")
SOURCES = (
    ROOT / "dlbox.py",
    *sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")),
)
LONGEST_FILE = 400
"""Lines."""
LARGEST_FOLDER = 12
"""Python files, ``__init__.py`` included."""
HEAVY = ("tensorflow", "keras", "torch", "jax", "ansible_runner", "matplotlib", "numpy", "pynvml")

# What the project had when these tests were written, and is to lose. Entries are removed, never added.
LONG_FILES = {"dlbox.py"}
LARGE_FOLDERS = {"provision/resolve", "workshops", "workshops/data"}
REPEATED_CLASSES = {"Device", "Job", "Outcome", "Rate", "Reviews", "Text"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def test_import_linter_keeps_the_layers() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_begins_with_its_docstring() -> None:
    """A page of a lesson begins with a cell of its notebook."""
    assert len(SOURCES) > 100
    assert [name_of(p) for p in SOURCES if not text_of(p).lstrip().startswith(('"""', "# %%", "# ---"))] == []


def test_no_module_is_long() -> None:
    lengths = {name_of(path): len(text_of(path).splitlines()) for path in SOURCES}
    long = {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE}
    assert set(long) <= LONG_FILES, long


def test_no_folder_holds_many_modules() -> None:
    sizes = Counter(name_of(path.parent) for path in SOURCES)
    large = {name: size for name, size in sizes.items() if size > LARGEST_FOLDER}
    assert set(large) <= LARGE_FOLDERS, large


def test_no_module_has_the_name_of_a_standard_one() -> None:
    assert [name_of(path) for path in SOURCES if path.stem in sys.stdlib_module_names] == []


def test_a_class_name_is_used_once() -> None:
    """Of the classes of a module; those inside a function or a class are its own affair."""
    places = defaultdict(list)
    for path in SOURCES:
        for node in ast.parse(text_of(path)).body:
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name_of(path))
    repeated = {name: found for name, found in places.items() if len(found) > 1}
    assert set(repeated) <= REPEATED_CLASSES, repeated


def commands() -> dict[str, click.Command]:
    """Every command and group by what a person types: "dlbox", "dlbox ready", "dlbox workshop run"."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))

    def below(
        name: str, command: click.Command, parent: click.Context | None
    ) -> Iterator[tuple[str, click.Command]]:
        yield name, command
        if isinstance(command, click.Group):
            context = click.Context(command, parent=parent)
            for word in command.list_commands(context):
                found = command.get_command(context, word)
                assert found is not None, f"{name} lists {word}, which does not exist"
                yield from below(f"{name} {word}", found, context)

    cli = importlib.import_module("dlbox").cli  # not `import dlbox`: the linter keeps modules from that
    return dict(below("dlbox", cli, None))


def test_every_command_and_option_has_a_help_text() -> None:
    every = commands()
    assert len(every) > 15
    assert [name for name, command in every.items() if not (command.help or "").strip()] == []
    silent = [
        f"{name} {'/'.join(option.opts)}"
        for name, command in every.items()
        for option in command.params
        if isinstance(option, click.Option) and not (option.help or "").strip()
    ]
    assert silent == []


def test_every_command_is_named_in_the_readme_or_the_guides() -> None:
    """The README names each `dlbox COMMAND`; what is below one, a page of docs may name."""
    readme = text_of(ROOT / "README.md")
    documents = readme + "".join(text_of(path) for path in sorted((ROOT / "docs").rglob("*.md")))
    every = commands()
    assert [name for name in every if name.count(" ") < 2 and name not in readme] == []
    assert [name for name in every if name not in documents] == []


def test_no_help_loads_a_heavy_module() -> None:
    """One process asks each command in turn; the first that loads one is named."""
    code = f"""
    import os, sys
    sys.path.insert(0, {str(ROOT)!r})
    import dlbox
    calls = [["--version"], *([*words.split()[1:], "--help"] for words in {sorted(commands())!r})]
    with open(os.devnull, "w") as nowhere:
        for call in calls:
            sys.argv, sys.stdout = ["dlbox", *call], nowhere
            try:
                dlbox.main()
            except SystemExit as end:
                assert end.code in (0, None), (call, end.code)
            loaded = [name for name in {HEAVY!r} if name in sys.modules]
            assert not loaded, f"dlbox {{' '.join(call)}} loads {{loaded}}"
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
