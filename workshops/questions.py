"""The questions at the end of a lesson, read from the lesson's own file: they are written once."""

from __future__ import annotations

from pathlib import Path

from workshops.promises import Lesson


def ending(lesson: Lesson) -> tuple[str, list[str]]:
    """(heading, paragraphs) of the last part of the lesson's last page: questions, exercises, where to read on."""
    text = (Path(__file__).parent / f"{lesson.pages[-1]}.py").read_text(encoding="utf-8")
    _, mark, after = text.rpartition("\n# %% [markdown]\n# ## Questions")
    if not mark:
        raise ValueError(f"{lesson.pages[-1]}.py does not end with questions")
    block: list[str] = []
    for line in f"Questions{after}".split("\n"):
        if block and not line.startswith("#"):
            break
        block.append(line.removeprefix("#").strip())
    heading, *lines = block
    return heading, [" ".join(part.split("\n")) for part in "\n".join(lines).split("\n\n") if part]
