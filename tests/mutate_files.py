"""Damage a bill, an inventory and the stack in many small ways: each is read or refused in one sentence."""

from __future__ import annotations

import random
import sys
from pathlib import Path

from inventory.builds import bill
from provision.hosts.hosts import HostError, read_host
from provision.resolve.load import DEFAULT_PATH, StackFileError, load

PIECES = [
    "&a ", "*a", "<<: ", "!!int ", "!x ", "[", "{", "]", "}", "\t", "\0", "\ud800", "'", '"', "? ", "- ", ": ", "|\n",
    "%YAML 1.1\n", "---\n", "0x", "1e999", ".nan", "2001-99-99", "\u202e", "\x85", "9" * 5000, "\r", "~",
]  # fmt: skip
INVENTORY = """
all:
  vars: &v {card: RTX 3060, distribution: ubuntu-24.04}
  hosts: {"box[1:3]": {<<: *v, kernel: 6.8.0-1-generic}, box: {secure_boot: true, frameworks: [torch]}}
  children: {room: {children: {desk: {hosts: {box: }}}}}
"""


def damaged(text: str, chance: random.Random) -> bytes:
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(text))
        way = chance.randrange(4)
        end = min(len(text), at + chance.choice((1, 5, 60)))
        if way == 0:
            text = text[:at] + chance.choice(PIECES) + text[at:]
        elif way == 1:
            text = text[:at] + text[end:]
        elif way == 2:
            text = text[:end] + text[at:end] * chance.choice((1, 200)) + text[end:]
        else:
            text = text[:at] + chance.choice(PIECES) + text[end:]
        text = text or " "
    return text.encode("utf-8", "surrogatepass")


def main(folder: Path) -> None:
    chance = random.Random(17)  # noqa: S311 - the same damage each time
    path = folder / "any.yml"
    stack = DEFAULT_PATH.read_text(encoding="utf-8")
    builds = [one.read_text(encoding="utf-8") for one in sorted(bill.builds_folder().glob("*.yml"))]
    for number in range(1500):
        text = stack if number % 100 == 0 else INVENTORY if number % 2 else chance.choice(builds)
        path.write_bytes(damaged(text, chance))
        try:
            if text is stack:
                load(path)
            elif text is INVENTORY:
                read_host("box", path)
            else:
                bill.read(path)
        except (bill.BillError, HostError, StackFileError) as error:
            said = str(error).replace(str(path), "any.yml")
            if "\n" in said or len(said) > 1000:
                raise SystemExit(f"{number}: {said!r}") from error


if __name__ == "__main__":
    main(Path(sys.argv[1]))
