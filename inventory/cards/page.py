"""The catalogue as a page for people: `python -m inventory.cards.page > docs/cards.md`."""

from __future__ import annotations

import sys

from inventory.cards import cards
from inventory.cards.cards import Card

_HEAD = """# Cards dlbox knows

Written by `python -m inventory.cards.page` from `inventory/cards/cards.yml`; edit that file, not this one.

FP32 is computed: 2 x cores x boost clock. TF32, FP16 and BF16 are peaks with FP32 accumulation and without
sparsity; "-" where the card has no units for the precision. Bandwidth is the published figure. Driver: the
lowest and the last branch for the card; modules: the kernel modules that drive it. Partner cards differ in
clock and power.

| Card | CC | Cores | MHz | FP32 TF | TF32 | FP16 | BF16 | GB | GB/s | L2 MB | W | PCIe | Driver | Modules |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
"""

_UNVERIFIED = """
## Not verified

These figures are from memory: nobody has compared them with a source. Who does removes them from this list by
naming the source in `inventory/cards/cards.yml`.

| Card | Figures |
|---|---|
"""


def page() -> str:
    catalogue = cards.catalogue()
    rows = "".join(_row(card) for card in catalogue)
    open_figures = "".join(f"| {c.name} | {', '.join(c.unverified)} |\n" for c in catalogue if c.unverified)
    return _HEAD + rows + _UNVERIFIED + open_figures


def _row(card: Card) -> str:
    peaks = (_number(card.peak_tflops(p)) for p in ("tf32", "fp16", "bf16"))
    cells = (
        card.name,
        card.compute_capability,
        str(card.cores),
        str(card.boost_mhz),
        f"{card.fp32_tflops:.2f}",
        *peaks,
        str(card.memory_gib),
        f"{card.memory_bandwidth_gb_s:g}",
        _number(card.l2_bytes / 2**20 if card.l2_bytes else None),
        str(card.tdp_w),
        f"{card.pcie_generation} x{card.pcie_lanes}",
        f"{card.min_driver_branch}-{card.last_driver_branch or ''}",
        card.module_flavour,
    )
    return f"| {' | '.join(cells)} |\n"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    sys.stdout.write(page())
