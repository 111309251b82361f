"""Texts that need no download: the documentation of Python, its source, or the learner's own file."""

from __future__ import annotations

import codecs
import sysconfig
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.file_access import inputs
from common.terminal.shown import place

Ids = NDArray[np.int64]
UNKNOWN = "\N{REPLACEMENT CHARACTER}"
SMALLEST = 20_000
"""Minimum number of characters: a model would only memorise a shorter text."""


MOST = 500
"""Maximum number of different symbols. ``count_tables`` encodes 7 symbols in one integer: 500^7 is below 2^63."""


class TextError(Exception):
    """The text cannot be used. The message is one sentence for the learner."""


@dataclass(frozen=True)
class Text:
    """A text as numbers: ``ids`` (characters,) are positions in ``symbols``. ``name`` describes the source."""

    name: str
    symbols: str
    ids: Ids

    def split(self, held_out: float = 0.1) -> tuple[Ids, Ids]:
        """Return two parts: one for training, and the last characters, a share of ``held_out`` (0 to 1), for
        validation."""
        cut = len(self.ids) - round(len(self.ids) * held_out)
        return self.ids[:cut], self.ids[cut:]

    def encode(self, text: str) -> Ids:
        """Characters -> ids; an unknown character becomes the first symbol."""
        return np.array([max(self.symbols.find(c), 0) for c in text], np.int64)

    def decode(self, ids: Ids) -> str:
        return "".join(self.symbols[i] for i in ids)


def from_string(name: str, text: str) -> Text:
    """Encode a text. The ``MOST`` - 1 most frequent characters each become a symbol; all others share one symbol.

    Raises TextError for a text that is too short or has only one character.
    """
    if len(text) < SMALLEST:
        raise TextError(f"{name} has {len(text):,} characters: at least {SMALLEST:,} are needed.")
    counts = Counter(text)
    if len(counts) < 2:
        raise TextError(
            f"{name} repeats one character, {next(iter(counts))!r}: a model cannot learn from it."
        )
    if len(counts) > MOST:
        often = sorted(counts, key=lambda c: (-counts[c], c))
        text = text.translate(dict.fromkeys(map(ord, often[MOST - 1 :]), UNKNOWN))
        counts = Counter(text)
    symbols = "".join(sorted(counts))
    number = {c: i for i, c in enumerate(symbols)}
    return Text(name, symbols, np.array([number[c] for c in text], np.int64))


def _plain(text: str) -> str:
    """Encode a text: each printable ASCII character and the newline is a symbol; all other characters share one
    symbol."""
    return "".join(c if c == "\n" or " " <= c <= "~" else UNKNOWN for c in text)


def documentation() -> Text:
    """The language reference of Python, as `help()` shows it. Raises TextError if it is not installed."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise TextError(
            "This Python installation has no documentation (pydoc_data): use --data source."
        ) from None
    return from_string("Python documentation", _plain("\n\n".join(topics[name] for name in sorted(topics))))


def source(limit: int = 1_000_000, *, seed: int = 0) -> Text:
    """Source files of Python's standard library, except tests, in random order, up to ``limit`` characters."""
    root = Path(sysconfig.get_paths()["stdlib"])
    skip = {"test", "tests", "site-packages", "dist-packages", "idle_test", "__pycache__"}
    files = sorted(p for p in root.rglob("*.py") if not skip & set(p.relative_to(root).parts))
    parts, total = [], 0
    for i in np.random.default_rng(seed).permutation(len(files)):
        parts.append(files[i].read_text(encoding="utf-8", errors="replace"))
        total += len(parts[-1])
        if total >= limit:
            break
    if total < SMALLEST:
        raise TextError("This Python came without the source of its library: use --corpus FILE.")
    return from_string("Python source", _plain("".join(parts)[:limit]))


def from_file(path: Path, limit: int = 5_000_000) -> Text:
    """The first ``limit`` characters of the learner's own file. The encoding is UTF-8, unless a byte order mark says
    otherwise.

    Raises TextError.
    """
    try:
        with inputs.open_regular(path) as file:
            start = file.read(4 * limit)  # UTF-8 needs at most 4 bytes per character
    except (OSError, inputs.InputError) as error:
        why = error.strerror if isinstance(error, OSError) else error.reason
        raise TextError(f"Cannot read {place(path)}: {why}.") from None
    encoding = next((name for mark, name in _MARKS if start.startswith(mark)), "utf-8")
    text = start.decode(encoding, errors="replace")[:limit].replace("\r\n", "\n").replace("\r", "\n")
    if sum(map(text.count, _NO_TEXT)) > len(text) / 1000:
        raise TextError(f"{path.name} is not UTF-8 text: save it as UTF-8, or choose another file.")
    return from_string(path.name, text)


_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # UTF-32 is tested before UTF-16, because both marks start with the same bytes.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NO_TEXT = UNKNOWN + "".join(map(chr, (*range(8), *range(14, 27), *range(28, 32), 127)))
"""Characters that are rare in text: replacement characters, and control codes that terminals do not use."""


def count_tables(train: Ids, held_out: Ids, symbols: int, longest: int = 6) -> list[float]:
    """Cross-entropy, in nats per character, of count tables of each order from 0 to ``longest``, measured on the
    second part of the text: the reference for a network.

    The tables use Witten and Bell's smoothing: p_k(c) = (n(ctx, c) + U(ctx) p_(k-1)(c)) / (n(ctx) + U(ctx)), where
    U is the number of different characters seen after ctx; p_(-1) = 1 / symbols; an unseen ctx leaves p unchanged.
    (Method C in Witten and Bell, IEEE Trans. Inf. Theory 37(4), 1991.)
    """
    p = np.full(len(held_out), 1 / symbols)
    losses = []
    for k in range(longest + 1):
        asked, known = _contexts(held_out, k, symbols), _contexts(train, k, symbols)
        pairs, pair_counts = np.unique(known * symbols + train[k:], return_counts=True)
        contexts, first = np.unique(pairs // symbols, return_index=True)
        n = np.add.reduceat(pair_counts, first)
        different = np.diff(np.append(first, len(pairs)))
        where = np.minimum(np.searchsorted(contexts, asked), len(contexts) - 1)
        seen = contexts[where] == asked
        pair = asked * symbols + held_out[k:]
        at = np.minimum(np.searchsorted(pairs, pair), len(pairs) - 1)
        n_pair = np.where(pairs[at] == pair, pair_counts[at], 0)
        mixed = (n_pair + different[where] * p[k:]) / (n[where] + different[where])
        p = np.concatenate([p[:k], np.where(seen, mixed, p[k:])])
        losses.append(float(-np.log(p).mean()))
    return losses


def _contexts(ids: Ids, k: int, symbols: int) -> Ids:
    """For each position from k on, the k characters before it, encoded as one integer."""
    context = np.zeros(len(ids) - k, np.int64)
    for j in range(k):
        context = context * symbols + ids[j : len(ids) - k + j]
    return context
