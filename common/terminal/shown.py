"""Prepare text from outside (a file, another computer, the user) for output: escape and shorten it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TextIO

LONGEST = 80
"""Maximum length in a message of a value from outside, in characters; longer values are cut off."""
_LONGEST_PATH = 200
"""Maximum length of a path in characters. It is longer, because nobody can open a shortened path."""

UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 except tab and newline, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # characters that change the direction of text
    "\u2028\u2029\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"  # other line separators, and invisible characters
)
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_SURROGATES = re.compile(r"[\ud800-\udfff]")
_QUOTED = re.compile(r"""(?<!\w)(?:'[^'\n]*'|"[^"\n]*"|`[^`\n]*`)(?!\w)""")
_RUN = re.compile(rf"[^\s'\"`]{{{LONGEST + 1},}}")


def visible(text: str) -> str:
    """Replace control characters and characters that change the direction of text by their JSON escapes.

    Tabs and newlines stay. In a JSON document such characters occur only inside strings, so the document stays valid
    and keeps its meaning.
    """
    return UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return _escaped(match[0])


def _escaped(text: str) -> str:
    units = text.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{int.from_bytes(units[i : i + 2]):04x}" for i in range(0, len(units), 2))


def without_controls(text: str) -> str:
    """The output of another program without colours and without the characters that ``visible`` escapes.

    Tabs and newlines stay.
    """
    return _SURROGATES.sub("", UNSAFE.sub("", _COLOURS.sub("", text)))


def on_terminal(text: str, stream: TextIO) -> str:
    """``text`` for ``stream``: unchanged for a program that reads it, ``visible`` on a terminal."""
    return visible(text) if stream.isatty() else text


def shortened(value: object, most: int = LONGEST) -> str:
    """A value from outside, for use in a message: on one line, at most ``most`` characters."""
    try:
        text = str(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, deeply nested lists
        text = f"a value of type {type(value).__name__}"
    line = "".join(c if c.isprintable() else _escaped(c) for c in " ".join(text[: 4 * most].split()))
    text = line + ("…" if len(text) > 4 * most else "")
    return cut(text, most)


def cut(text: str, most: int) -> str:
    """``text``, or its first characters and "…": at most ``most`` characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def place(path: Path | str) -> str:
    """A path for a message: complete up to 200 characters, else shortened."""
    text = visible(str(path)).replace("\n", "\\n").replace("\t", "\\t")
    return text if len(text) <= _LONGEST_PATH else cut(text, LONGEST)


def sentence(text: str) -> str:
    """A message for stderr: control characters escaped, quoted values and long words shortened.

    Lines after the first are indented, so that no value looks like a separate message.
    """
    text = _QUOTED.sub(_cut_quoted, text)
    return visible(_RUN.sub(_cut_run, text)).replace("\n", "\n  ")


def _cut_quoted(match: re.Match[str]) -> str:
    quote, inside = match[0][0], match[0][1:-1]
    if len(inside) <= LONGEST or _is_path(inside):
        return match[0]
    return f"{quote}{cut(inside, LONGEST)}{quote}"


def _cut_run(match: re.Match[str]) -> str:
    word = match[0]
    return word if _is_path(word) else cut(word, LONGEST)


def _is_path(text: str) -> bool:
    return "/" in text and len(text) <= _LONGEST_PATH and " " not in text
