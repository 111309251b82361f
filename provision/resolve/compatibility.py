"""Generates the reference page with the stack of every card on every distribution.

``python -m provision.resolve.compatibility > docs/reference/compatibility.md``; a test fails if the two differ.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from inventory.cards import cards
from provision.distributions.distribution_file import DistributionRow
from provision.resolve.load import load
from provision.resolve.rows import StackData
from provision.resolve.stack import NoStack, Request, Stack, Target, resolve

_HEAD = """# Compatibility: versions by card and distribution

The stack that `dlbox plan` selects for every card of the catalogue on every supported distribution. Assumed: the
distribution's own kernel, all frameworks, no system CUDA toolkit.

This page is generated from `provision/resolve/stack.yml` of {date} and the files of `provision/distributions/` by
`python -m provision.resolve.compatibility > docs/reference/compatibility.md`. The reasons and the sources are in
these files and in the output of `dlbox plan --card NAME --distro NAME`.

- driver: the driver branch and the variant of the kernel modules (open or closed).
- source: where the driver comes from. `prebuilt`: the distribution's signed modules. `distribution`: Debian's own
  packages, compiled by DKMS. `nvidia-repository`: NVIDIA's repository, compiled by DKMS. Modules compiled by DKMS
  need an enrolled key when Secure Boot is on.
- Python: `(uv)` marks a Python that uv installs because the distribution's version does not fit the wheels.
- TensorFlow, torch, JAX: the version, then the cuDNN version that it loads. Each framework has its own environment.
  "-" means that the framework's wheels contain no code for the card. `+cu126`: the build for CUDA 12.6 from PyTorch's
  own index; without that index (`dlbox plan --pypi-only`) an older torch from PyPI is selected.
- backend: the default backend of Keras.
"""

_COLUMNS = ("card", "driver", "source", "Python", "TensorFlow", "torch", "JAX", "backend")


def page(data: StackData) -> str:
    """The whole page as Markdown."""
    return "\n".join(_lines(data)) + "\n"


def _lines(data: StackData) -> Iterator[str]:
    yield _HEAD.format(date=data.date).rstrip()
    for distribution in data.distributions:
        yield from ("", f"## {distribution.name}", "")
        yield from ("| " + " | ".join(_COLUMNS) + " |", "|" + "---|" * len(_COLUMNS))
        for card in cards.catalogue():
            target = Target(
                name=card.name, architecture=card.architecture, capability=card.compute_capability
            )
            outcome = resolve(Request(distribution=distribution.id, targets=(target,)), data, today=data.date)
            yield "| " + " | ".join(_cells(card.name, outcome, distribution)) + " |"


def _cells(card: str, outcome: Stack | NoStack, distribution: DistributionRow) -> tuple[str, ...]:
    if isinstance(outcome, NoStack) or outcome.driver is None or outcome.cudnn is None:
        because = outcome.because if isinstance(outcome, NoStack) else "no card"
        return (card, f"none: {because}", "", "", "", "", "", "")
    cudnn = outcome.cudnn.versions
    python = outcome.python

    def framework(name: str) -> str:
        packages = outcome.environments.get(name)
        return f"{packages[name]}, {cudnn[name]}" if packages else "-"

    return (
        card,
        f"{outcome.driver.branch} {outcome.driver.flavour}",
        outcome.driver.source,
        python.version if python.version == distribution.python else f"{python.version} ({python.source})",
        framework("tensorflow"),
        framework("torch"),
        framework("jax"),
        outcome.backend,
    )


if __name__ == "__main__":
    sys.stdout.write(page(load()))
