"""Read the questions at the end of a lesson from its last page file, so that they are written in only one place."""

from __future__ import annotations

from workshops.player.expected import Lesson


def closing_questions(lesson: Lesson) -> tuple[str, list[str]]:
    """(heading, paragraphs) of the last part of the last page: questions, exercises, further reading.

    Raises ValueError for a page without that part.
    """
    page = lesson.page_files[-1]
    _, mark, after = page.read_text(encoding="utf-8").rpartition("\n# %% [markdown]\n# ## Questions")
    if not mark:
        raise ValueError(f'{page} has no part "## Questions"')
    block: list[str] = []
    for line in f"Questions{after}".split("\n"):
        if block and not line.startswith("#"):
            break
        block.append(line.removeprefix("#").strip())
    heading, *lines = block
    return heading, [" ".join(part.split("\n")) for part in "\n".join(lines).split("\n\n") if part]
