"""Which cards of a machine count for a plan: those that the user chose, else all that can be used for training."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

import msgspec

from inventory.cards import cards
from provision.clean_text import shown
from provision.resolve import drivers
from provision.resolve.drivers import Refused
from provision.resolve.model import Request, Target
from provision.resolve.rows import StackData

PASSTHROUGH = frozenset({"vfio-pci", "pci-stub", "xen-pciback"})
"""Kernel drivers that hold a card for a virtual machine."""

_ADDRESS = re.compile(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}:[0-9a-f]{2})(\.[0-7])?")
_INDEX = re.compile(r"#?(\d{1,2})")


class CardChoiceError(LookupError):
    """A chosen card does not exist on the machine; the message is one sentence."""


def choose_cards(request: Request, chosen: tuple[str, ...]) -> Request:
    """The request for the chosen cards only. Raises CardChoiceError.

    ``chosen``: names, indices (0 is the first card) or PCI addresses; several in one text are separated by commas.
    A name means every card of that name. An empty text or "none" means no card.
    """
    targets = request.targets
    counted: set[int] = set()
    for text in (part.strip() for each in chosen for part in each.split(",")):
        if text and text.lower() != "none":
            counted.update(_matching(text, targets))
    return msgspec.structs.replace(
        request,
        targets=tuple(t for i, t in enumerate(targets) if i in counted),
        unused=(*request.unused, *(t for i, t in enumerate(targets) if i not in counted)),
        cards_chosen=True,
    )


def _matching(text: str, targets: tuple[Target, ...]) -> list[int]:
    """Positions of the cards that one text means. Raises CardChoiceError."""
    index = _INDEX.fullmatch(text)
    if index is not None:
        if int(index[1]) < len(targets):
            return [int(index[1])]
        raise CardChoiceError(f"there is no card {text}; {_listed(targets)}")
    address = _ADDRESS.fullmatch(text.lower())
    if address is not None:
        found = [i for i, target in enumerate(targets) if _same_address(address, target.address)]
        if found:
            return found
        raise CardChoiceError(f"no card has the PCI address {text}; {_listed(targets)}")
    found = _named(text, targets)
    names = list(dict.fromkeys(targets[i].name for i in found))
    if len(names) > 1:
        raise CardChoiceError(f'"{shown(text)}" means several cards; {_listed(targets)}')
    if found:
        return found
    near = difflib.get_close_matches(_plain(text), [_plain(t.name) for t in targets], 1, 0.4)
    guess = next((t.name for t in targets if near and _plain(t.name) == near[0]), None)
    question = f"did you mean {guess}? " if guess else ""
    raise CardChoiceError(f'this machine has no card "{shown(text)}"; {question}{_listed(targets)}')


def _named(text: str, targets: tuple[Target, ...]) -> list[int]:
    try:
        card = cards.find(text).name
    except cards.UnknownCard:
        card = None
    found = [i for i, target in enumerate(targets) if target.name == card]
    if found:
        return found
    words = set(_plain(text).split())
    same = [i for i, target in enumerate(targets) if words and words == set(_plain(target.name).split())]
    return same or [
        i for i, target in enumerate(targets) if words and words <= set(_plain(target.name).split())
    ]


def _plain(name: str) -> str:
    """Words of a name: "GeForce RTX3060" -> "rtx 3060"."""
    text = re.sub(r"(?<=[a-z])(?=\d)|[^a-z0-9]+", " ", name.lower())
    return " ".join(word for word in text.split() if word not in ("nvidia", "geforce"))


def _same_address(asked: re.Match[str], address: str) -> bool:
    own = _ADDRESS.fullmatch(address.lower())
    if own is None or own[2] != asked[2] or (asked[3] or ".0") != (own[3] or ".0"):
        return False
    return int(asked[1] or "0", 16) == int(own[1] or "0", 16)


def _listed(targets: tuple[Target, ...]) -> str:
    """ "the cards are 0: GeForce GTX 1060 6GB (01:00.0), 1: ..."."""
    if not targets:
        return "the machine has no card"
    found = ", ".join(
        f"{index}: {target.name}{f' ({target.address})' if target.address else ''}"
        for index, target in enumerate(targets)
    )
    return f"the cards are {found}"


def countable(request: Request, data: StackData) -> Request:
    """The request without the cards that cannot be used for training, if another card can.

    Left out are cards that a virtual machine holds, cards of other makers and cards for which no distribution has a
    driver. Raises Refused if the only cards with a driver are held for virtual machines.
    """
    if request.cards_chosen or not request.targets:
        return request
    supported = [target for target in request.targets if drivers.is_supported(target, data)]
    free = [target for target in supported if target.bound_driver not in PASSTHROUGH]
    if supported and not free:
        options = " or ".join(
            f"`--use {i}` ({t.name})" for i, t in enumerate(request.targets) if t in supported
        )
        held = " and ".join(dict.fromkeys(f"{t.name} ({t.bound_driver})" for t in supported))
        raise Refused(
            f"{held} is reserved for a virtual machine: release the card, or pass {options} to plan for it anyway"
        )
    if not free:
        return request
    counted = [any(target is each for each in free) for target in request.targets]
    return msgspec.structs.replace(
        request,
        targets=tuple(t for t, counts in zip(request.targets, counted, strict=True) if counts),
        unused=(
            *request.unused,
            *(t for t, counts in zip(request.targets, counted, strict=True) if not counts),
        ),
    )


def groups(whole: Request, counted: Request) -> Iterator[tuple[str, tuple[Target, ...]]]:
    """The option that chooses the cards of one architecture ("--use 0 --use 2"), and these cards.

    ``whole``: the request with all cards, whose positions are the indices; ``counted``: the result of ``countable``.
    """
    for architecture in dict.fromkeys(target.architecture for target in counted.targets):
        mine = [
            index
            for index, target in enumerate(whole.targets)
            if target.architecture == architecture and any(target is each for each in counted.targets)
        ]
        option = " ".join(f"--use {index}" for index in mine)
        yield option, tuple(whole.targets[index] for index in mine)
