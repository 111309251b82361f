"""Write the reference page of the card catalogue: `python -m inventory.cards.page > docs/reference/cards.md`."""

from __future__ import annotations

import sys

from inventory.cards import cards
from inventory.cards.cards import Card

_HEAD = """# Supported cards

This page is generated from `inventory/cards/cards.yml` by `python -m inventory.cards.page > docs/reference/cards.md`.
Edit `inventory/cards/cards.yml`, then run the command.

- CC: CUDA compute capability. MHz: boost clock. W: board power.
- FP32 TF: peak in TFLOP/s, computed as 2 x cores x boost clock.
- TF32, FP16, BF16: peak of the tensor cores in TFLOP/s with FP32 accumulation and without sparsity. "-" means that
  the card has no hardware for the precision.
- GB/s: the published memory bandwidth.
- Driver: the first and the last driver branch that supports the card. An open end means that the newest branch
  supports it.
- Modules: the variant of NVIDIA's kernel modules, open or closed.

The figures are of the reference design. Cards of other board makers can differ in clock and power.

| Card | CC | Cores | MHz | FP32 TF | TF32 | FP16 | BF16 | GB | GB/s | L2 MB | W | PCIe | Driver | Modules |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|
"""

_UNVERIFIED = """
## Figures without a source

These figures were not compared with a source. To remove a figure from this list, verify it and name the source in
`inventory/cards/cards.yml`.

| Card | Figures |
|---|---|
"""


def page() -> str:
    """The page as Markdown."""
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
