"""Names of cards as people, shops, `lspci` and NVML write them, taken apart into words that can be compared."""

from __future__ import annotations

import re

import msgspec

_SHORT_SUPER = re.compile(r"\b(1650|1660|20[678]0|40[78]0)( ?ti)? ?s\b")
_LAPTOP = re.compile(r"\b(?:with )?(?:laptop|notebook|mobile|max q)(?: design)?\b")
_MODEL_OF_LAPTOP = re.compile(r"\b(?:9\d{2}|10[5-8]0)m\b|\bmx\s?\d{3}\b|\brtx\s?2050\b")
_MEMORY = re.compile(r"(?<![a-z0-9])o?(\d{1,3})\s*g(?:i?b|d[67]?x?)?(?![a-z0-9])", re.ASCII)
_NOISE = re.compile(
    r"\b(?:nvidia|corporation|geforce|tesla|graphics|card|gpu|lite hash rate|lhr|founders edition|fe|generation"
    r"|edition|collector ?s|rev ?\w\d?)\b"
)
_MAX_Q_OF_DESKTOP = re.compile(r"workstation|\brtx pro 6000d?\b")
"""RTX PRO 6000 Blackwell Max-Q Workstation Edition is a desktop card."""
_NVIDIA_SMI = re.compile(r"^\s*gpu \d+:|\(uuid:[^)]*\)?")
"""What `nvidia-smi -L` writes around the name."""
_PART_NUMBER = re.compile(r"(?<=g) p\d \d{4} [a-z]{2}\b")
"""Form of EVGA's part numbers, such as "12G-P5-3657-KR"."""
_ID_IN_BRACKETS = re.compile(r"\[(?:[0-9a-f]{4}(?::[0-9a-f]{4})?)\]")
FAMILIES = frozenset({"gtx", "rtx", "gt", "titan"})

OPTIONAL = frozenset({
    "sxm", "sxm2", "sxm3", "sxm4", "sxm5", "sxm6", "ac", "pcie", "hbm3", "pascal", "gddr6", "gddr6x",
    "quadro", "ada", "blackwell", "pro", "workstation", "server",
})  # fmt: skip
"""Words that a name may omit if no other card has the shorter name."""

MEANING = frozenset({
    "quadro", "pro", "ada", "generation", "blackwell", "radeon", "rx", "arc", "laptop", "maxq",
    "ti", "super", "d", "m", "q", "s", "t", "a", "xp",
})  # fmt: skip
"""Words that, with the same number, name another model. The words of board makers do not."""

_BOARD_WORD = re.compile(
    r"[a-z]+|[1-4]x|x[1-4]|x8|x16|v\d|mk\d|g?ddr\d+x?|hbm\d+e?|oc\d?|sc\d"
    r"|\d{2,4}(?:mhz|w|bit)|\d|inno3d|kfa2|gen\d|\d(?:slot|fans?)"
)


class NameKey(msgspec.Struct, frozen=True):
    """The parts of a name: "GeForce RTX 4060 Ti 16GB" -> {rtx}, 16, {4060, ti}."""

    families: frozenset[str]
    memory_gib: int | None
    words: frozenset[str]


def is_laptop_name(name: str) -> bool:
    """Whether the name is that of a laptop GPU; before the RTX 30 family, many names do not show this."""
    plain = _plain(name)
    if _MAX_Q_OF_DESKTOP.search(plain):
        return False
    return bool(_LAPTOP.search(plain) or _MODEL_OF_LAPTOP.search(plain))


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", text.lower()).strip()


def name_key(text: str) -> NameKey:
    """The parts of a name. Case, order, punctuation and the words of the vendor do not matter."""
    text = _NVIDIA_SMI.sub(" ", _ID_IN_BRACKETS.sub(" ", text.lower()))
    bracket = re.search(r"\[([^\]]*)\]", text)  # lspci: "GA106 [GeForce RTX 3060] (rev a1)"
    text = bracket[1] if bracket and bracket[1].strip() else text
    text = _plain(text)
    text = text.replace("max q", "maxq") if _MAX_Q_OF_DESKTOP.search(text) else _LAPTOP.sub(" laptop ", text)
    text = _NOISE.sub(" ", text)
    text = _PART_NUMBER.sub(" ", text)
    text = re.sub(r"\b(gtx|rtx|gt)(?=[apt]?\d)", r"\1 ", text)
    text = re.sub(r"\b(mx|cmp|quadro)(?=\d{2,3})", r"\1 ", text)
    text = re.sub(r"\bmx (?=\d{3}\b)", "mx", text)
    text = re.sub(r"\bp ?(10[246]) ?(?=\d{3}\b)", r"p\1 ", text)
    text = re.sub(r"\b(\d{2,3}) hx\b", r"\1hx", text)
    text = re.sub(r"\bp106 90\b", "p106 090", text)
    text = re.sub(r"^(\s*|.*\brtx )([apt]) (?=\d{3,4}\b)", r"\1\2", text)
    text = _SHORT_SUPER.sub(r"\1\2 super", text)
    text = re.sub(r"\btitan(?=(?:v|xp?|rtx)\b)", "titan ", text)
    text = re.sub(r"(?<=\d{3})(?=(?:ti|super|d)(?:super)?(?:\d|\b))", " ", text)
    text = re.sub(r"\bti(?=super)", "ti ", text)
    text = re.sub(r"\b(ti|super)(?=\d)", r"\1 ", text)
    memory = _MEMORY.search(text)
    text = _MEMORY.sub(" ", text)
    words = set(text.split())
    return NameKey(
        frozenset(words & FAMILIES), int(memory[1]) if memory else None, frozenset(words - FAMILIES)
    )


def same(key: NameKey, other: NameKey) -> bool:
    """Whether two names are those of one model; a memory that one of them omits does not matter."""
    memories = {key.memory_gib, other.memory_gib} - {None}
    return (key.families, key.words) == (other.families, other.words) and len(memories) < 2


def fits(asked: NameKey, key: NameKey, memory_gib: int | None) -> int:
    """How well a card's name fits the name that was asked for.

    3: the same words. 2: the asked name omits optional words. 1: the asked name has words of a board maker or a shop
    too. 0: another card. memory_gib: memory of the card; None fits every memory.
    """
    if asked.families and not asked.families <= key.families:
        return 0
    if None not in (asked.memory_gib, memory_gib) and asked.memory_gib != memory_gib:
        return 0
    if not asked.words and "titan" not in asked.families:
        return 0
    if asked.words == key.words:
        return 3 if not asked.families or asked.families == key.families else 0
    if not asked.words:
        return 0
    if asked.words < key.words and key.words - asked.words <= OPTIONAL:
        return 2
    needed = key.words - OPTIONAL
    if not needed <= asked.words or (key.families - asked.families and asked.families):
        return 0
    if not needed and (key.words or not asked.families):
        return 0
    return 1 if all(_of_board(word) for word in asked.words - key.words) else 0


def _of_board(word: str) -> bool:
    """Whether the word can be that of a board maker or a shop: "ventus", "2x", but not "super" or "4070"."""
    return word not in MEANING and bool(_BOARD_WORD.fullmatch(word))
