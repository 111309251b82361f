"""Text from outside (a file, a box, a person) made fit to be shown: no control characters, no long values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TextIO

LONGEST = 80
"""Characters of one value from outside that a message repeats."""
_LONGEST_PATH = 200
"""Characters of a path: what is cut off could not be found."""

UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but for tab and line end, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # what changes the direction of text
    "\u2028\u2029\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"  # other line ends, and what is not seen at all
)
_QUOTED = re.compile(r"""(?<!\w)(?:'[^'\n]*'|"[^"\n]*"|`[^`\n]*`)(?!\w)""")
_RUN = re.compile(rf"[^\s'\"`]{{{LONGEST + 1},}}")


def visible(text: str) -> str:
    """Control characters and those that turn the direction of text become their JSON escapes.

    Tabs and line ends stay. In a JSON document such characters stand within strings only, so that it stays valid and
    says the same.
    """
    return UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{int.from_bytes(units[i : i + 2]):04x}" for i in range(0, len(units), 2))


def on_terminal(text: str, stream: TextIO) -> str:
    """``text`` for ``stream``: as it is for a program that reads it, ``visible`` for a person at a terminal."""
    return visible(text) if stream.isatty() else text


def shortened(value: object, most: int = LONGEST) -> str:
    """A value from outside for a sentence that repeats it: on one line, of at most ``most`` characters."""
    text = str(value)
    text = visible(" ".join(text[: 4 * most].split())) + ("…" if len(text) > 4 * most else "")
    return text if len(text) <= most else f"{text[: most - 1]}…"


def place(path: Path | str) -> str:
    """A path for a sentence: whole where it can be one that exists, else shortened."""
    text = visible(str(path)).replace("\n", "\\n").replace("\t", "\\t")
    return text if len(text) <= _LONGEST_PATH else f"{text[: LONGEST - 1]}…"


def sentence(text: str) -> str:
    """A message as it goes to stderr: no control characters, each value in quotes and each word of bounded length.

    Lines after the first are indented, so that no value looks like a message of its own.
    """
    text = _QUOTED.sub(_cut_quoted, text)
    return visible(_RUN.sub(_cut_run, text)).replace("\n", "\n  ")


def _cut_quoted(match: re.Match[str]) -> str:
    quote, inside = match[0][0], match[0][1:-1]
    if len(inside) <= LONGEST or _is_path(inside):
        return match[0]
    return f"{quote}{inside[: LONGEST - 1]}…{quote}"


def _cut_run(match: re.Match[str]) -> str:
    word = match[0]
    return word if _is_path(word) else f"{word[: LONGEST - 1]}…"


def _is_path(text: str) -> bool:
    return "/" in text and len(text) <= _LONGEST_PATH and " " not in text
