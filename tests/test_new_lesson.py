"""A new lesson is one new folder: the commands find it without a change of any other file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from workshops import lessons
from workshops.cli import workshop_group
from workshops.lessons import catalog

pytest.importorskip("keras")

FILES = {
    "__init__.py": '"""A lesson that only this test has."""\n',
    "expected.py": """
from workshops.player.expected import ARITHMETIC, Expected, Lesson

LESSON = Lesson(
    package=__package__, order=1, title="Counting", about="One and one.", data="none",
    quick_seconds=1, full_seconds=1, expected=(Expected("sum", 2, 2, "counted", ARITHMETIC),),
)
""",
    "page.py": """# %% [markdown]
# # Counting

# %%
from __future__ import annotations

from workshops.player.page import LessonPage

# %% tags=["active-ipynb"]
# from workshops.commands.start import open_page
# page = open_page("counting-up")


# %%
def add(page: LessonPage) -> None:
    page.measure("sum", 1 + 1)


# %% tags=["active-ipynb"]
# add(page)
# result = page.close()

# %% [markdown]
# ## Questions
# How much is two and two?
""",
    "run.py": """
from workshops.lessons.counting_up.page import add

def run(page):
    page.announce()
    add(page)
    return page.close()
""",
    "exercises.py": "def double(x):\n    return x\n",
    "solutions.py": "def double(x):\n    return 2 * x\n",
    "checks.py": 'def check_1_double(learner):\n    assert learner.double(3) == 6, "twice 3 is 6"\n',
}


@pytest.fixture
def new_lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the lesson `counting-up`, in a second folder of lessons."""
    folder = tmp_path / "more" / "counting_up"
    folder.mkdir(parents=True)
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(lessons, "__path__", [*lessons.__path__, str(folder.parent)])
    monkeypatch.chdir(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.startswith("workshops.lessons.counting_up")]:
        del sys.modules[name]
    vars(lessons).pop("counting_up", None)


def call(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(workshop_group, words, catch_exceptions=False)
    return done.exit_code, done.stdout


def test_the_lesson_is_listed_in_its_place(new_lesson: Path) -> None:
    code, text = call("list", "--json")
    assert code == 0
    assert [each["name"] for each in json.loads(text)["lessons"]][:2] == ["counting-up", "sign"]
    assert "counting-up" in call("list")[1]


def test_the_lesson_runs_and_its_values_are_judged(new_lesson: Path) -> None:
    code, text = call("run", "counting-up", "--json")
    document = json.loads(text)
    assert code == 0
    assert [(m["name"], m["value"], m["ok"]) for m in document["measured"]] == [("sum", 2, True)]


def test_a_value_outside_its_range_fails_the_lesson(new_lesson: Path) -> None:
    page = new_lesson / "page.py"
    page.write_text(page.read_text().replace("1 + 1", "1 + 2"), encoding="utf-8")
    code, text = call("run", "counting-up", "--json")
    assert code == 1
    assert json.loads(text)["ok"] is False


def test_the_exercises_of_the_lesson_are_copied_and_checked(new_lesson: Path) -> None:
    code, text = call("check", "counting-up")
    assert code == 1
    assert "to do   1 double: twice 3 is 6" in text
    assert Path("exercises/counting_up.py").read_text() == FILES["exercises.py"]
    assert call("check", "counting-up", "--solutions")[0] == 0


def test_the_lesson_becomes_a_notebook(new_lesson: Path) -> None:
    assert call("notebook", "counting-up") == (0, "notebooks/counting_up.ipynb\n")
    book = json.loads(Path("notebooks/counting_up.ipynb").read_text())
    source = "\n".join("".join(cell["source"]) for cell in book["cells"])
    assert (
        source.index("backend.set_backend()")
        < source.index('open_page("counting-up")')
        < source.index("add(page)")
    )


def test_a_folder_without_expected_py_is_not_a_lesson(new_lesson: Path) -> None:
    (new_lesson / "expected.py").unlink()
    assert "counting-up" not in [lesson.name for lesson in catalog.lessons()]
