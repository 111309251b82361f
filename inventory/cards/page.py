"""Write the reference page of the card catalogue: `python -m inventory.cards.page > docs/reference/cards.md`."""

from __future__ import annotations

import sys

from inventory.cards import cards, pci_table
from inventory.cards.cards import Card

_HEAD = """# Supported cards

This page is generated from `inventory/cards/catalogue/*.yml` by
`python -m inventory.cards.page > docs/reference/cards.md`. Edit these files, then run the command.

dlbox also knows chip and name of {others} further device ids (laptop GPUs, other workstation and server cards,
engineering samples) from pci.ids (`inventory/cards/pci_ids.tsv`). It plans drivers and frameworks for them, but has no
figures of them.

- CC: CUDA compute capability. MHz: boost clock. W: board power.
- FP32 TF: peak in TFLOP/s, computed as 2 x cores x boost clock.
- TF32, FP16, BF16: peak of the tensor cores in TFLOP/s with FP32 accumulation and without sparsity. "-" means that the
  card has no hardware for the precision, or that the figure is not known.
- GB/s: the published memory bandwidth.
- Driver: the first and the last driver branch that supports the card. An open end means that the newest branch
  supports it.
- Modules: the variant of NVIDIA's kernel modules, open or closed.

In the other columns, "-" means that the figure is not known.

The figures are of the reference design. Cards of other board makers can differ in clock and power.

| Card | CC | Cores | MHz | FP32 TF | TF32 | FP16 | BF16 | GB | GB/s | L2 MB | W | PCIe | Driver | Modules |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
"""

_UNVERIFIED = """
## Figures without a source

These figures were not compared with a source. To remove a figure from this list, verify it and name the source in
`inventory/cards/catalogue`.

| Card | Figures |
|---|---|
"""


def page() -> str:
    """The text of docs/reference/cards.md (Markdown)."""
    catalogue = cards.catalogue()
    rows = "".join(_row(card) for card in catalogue)
    open_figures = "".join(f"| {c.name} | {', '.join(c.unverified)} |\n" for c in catalogue if c.unverified)
    return _HEAD.format(others=_others()) + rows + _UNVERIFIED + open_figures


def _others() -> int:
    """Number of device ids in the table that no card of the catalogue has, and that dlbox supports."""
    known = {int(pci_id[5:], 16) for card in cards.catalogue() for pci_id in card.pci_ids}
    return sum(
        number not in known and cards.architecture_of(number) is not None for number in pci_table.table()
    )


def _row(card: Card) -> str:
    peaks = (_number(card.peak_tflops(p)) for p in ("tf32", "fp16", "bf16"))
    link = f"{card.pcie_generation} x{card.pcie_lanes}" if card.pcie_generation and card.pcie_lanes else "-"
    cells = (
        card.name,
        card.compute_capability,
        _number(card.cores),
        _number(card.boost_mhz),
        f"{card.fp32_tflops:.2f}" if card.fp32_tflops else "-",
        *peaks,
        _number(card.memory_gib),
        "-" if card.memory_bandwidth_gb_s is None else f"{card.memory_bandwidth_gb_s:g}",
        _number(card.l2_bytes / 2**20 if card.l2_bytes else None),
        _number(card.tdp_w),
        link,
        f"{card.min_driver_branch}-{card.last_driver_branch or ''}",
        card.module_flavour,
    )
    return f"| {' | '.join(cells)} |\n"


def _number(value: float | None) -> str:
    return "-" if value is None else str(value) if isinstance(value, int) else f"{value:.4g}"


if __name__ == "__main__":
    sys.stdout.write(page())
