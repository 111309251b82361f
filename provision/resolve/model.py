"""The resolver's input (requests) and output (stacks)."""

from __future__ import annotations

import datetime

import msgspec

from common.sourced import Verified
from inventory.cards.architectures import Flavour
from provision.distributions.distribution_file import DriverOrigin
from provision.resolve.rows import Framework


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One card of the machine. ``architecture``: None if the card is older than Kepler or unknown."""

    name: str
    architecture: str | None
    capability: str | None = None
    """Compute capability ("8.6"); None if only the architecture is known, whose lowest value is then assumed."""
    maker: str = "NVIDIA"
    alternatives: tuple[str, ...] = ()
    """Other cards that a short name such as "3060" can mean."""
    address: str = ""
    """PCI address, such as "0000:01:00.0"; empty for a card that is only described."""
    bound_driver: str | None = None
    """Kernel driver that is bound to the card, such as "nouveau" or "vfio-pci"."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The machine for which versions are selected. Empty ``targets`` mean a machine without an NVIDIA card."""

    distribution: str
    """ "ubuntu-24.04", "debian-12"."""
    targets: tuple[Target, ...] = ()
    kernel: str = ""
    """Kernel release as ``uname -r`` prints it; empty if unknown."""
    secure_boot: bool | None = None
    """Whether Secure Boot is on; None if unknown."""
    frameworks: tuple[Framework, ...] = ()
    """Required frameworks; empty: all frameworks that run on these cards."""
    cuda_toolkit: bool = False
    """Whether to also select a system CUDA toolkit, for compiling."""
    machine_type: str = "x86_64"
    environment: str = "bare-metal"
    flavour: Flavour | None = None
    """The requested variant of the kernel modules; None: dlbox selects it."""
    branch: int | None = None
    """The requested driver branch; None: dlbox selects it."""
    further_indexes: bool = True
    """Whether the machine may use package indexes other than PyPI, or the mirror that replaces it."""
    apt_packages: tuple[str, ...] | None = None
    """Headers of kernels and prebuilt modules that apt on the machine offers; None: not known."""
    compiled_headers: tuple[str, ...] = ()
    """Installed kernels whose headers are present."""
    """ "bare-metal", "virtual-machine", "container" or "wsl2"."""
    cpu_flags: tuple[str, ...] | None = None
    """Instruction sets of the processor ("avx", "avx2", ...); None if unknown."""
    driver_version: str = ""
    """Version of the driver that is loaded: in a container that of its host, under WSL2 that of Windows."""
    unused: tuple[Target, ...] = ()
    """Other cards of the machine, which the user excluded from the plan."""
    cards_chosen: bool = False
    """Whether the user chose ``targets``; the resolver then leaves none of them out."""

    @property
    def driver_comes_from_host(self) -> bool:
        """Whether another system installs the driver: the host of a container, or Windows."""
        return self.environment in ("container", "wsl2")


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why one version was selected, and how reliable the source is."""

    topic: str
    choice: str
    why: str
    source: str
    verified: Verified
    date: datetime.date


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """An apt repository to add, and the key that signs it."""

    uri: str
    keyring: str
    """NVIDIA's package with the key and a source entry; the role downloads the key only."""
    key_url: str
    fingerprint: str


class DriverPlan(msgspec.Struct, frozen=True, kw_only=True):
    branch: int
    version: str
    """The version that the source had on the date of the row; apt pins the branch, not this version."""
    flavour: Flavour
    source: DriverOrigin
    packages: tuple[str, ...]
    """The packages, in the order of their installation."""
    components: tuple[str, ...] = ()
    """Archive components that must be enabled."""
    repository: Repository | None = None
    needs_mok: bool | None = None
    """Whether Secure Boot refuses the modules until their key is enrolled; None: not known."""
    ends: datetime.date | None = None
    """Last day of support of the branch; None: not known."""


class CudaPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The CUDA versions. The wheels contain CUDA; a system toolkit is installed only on request."""

    source: str
    versions: dict[str, str]
    """Environment -> the CUDA version of its wheels."""
    toolkit: str | None = None
    toolkit_packages: tuple[str, ...] = ()
    toolkit_repository: Repository | None = None
    toolkit_components: tuple[str, ...] = ()
    """Archive components that must be enabled for the toolkit."""
    capabilities: tuple[str, ...] = ()
    """The compute capabilities for which the toolkit compiles: those of the cards, without duplicates."""


class CudnnPlan(msgspec.Struct, frozen=True, kw_only=True):
    source: str
    versions: dict[str, str]
    """Environment -> cuDNN version."""
    below: str | None = None
    """First release of cuDNN 9 without code for these cards ("9.11"); None: every release has code for them."""


class PythonPlan(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    source: str
    """ "distribution" for the distribution's own Python, or the tool that installs Python ("uv")."""
    packages: tuple[str, ...]
    install: str | None = None
    """The command that installs Python; None for the distribution's own Python."""
    tool_version: str | None = None


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """All versions for one machine, with reasons. Without a card, there is no driver, CUDA or cuDNN."""

    cards: tuple[str, ...]
    distribution: str
    driver: DriverPlan | None
    cuda: CudaPlan | None
    cudnn: CudnnPlan | None
    python: PythonPlan
    backend: str
    """The default backend of Keras on this machine."""
    keras: str
    environments: dict[str, dict[str, str]]
    """Environment -> package -> exact version."""
    requirements: dict[str, tuple[str, ...]]
    """Environment -> the same packages as requirements for pip."""
    indexes: dict[str, str]
    """Environment -> the additional package index that it needs."""
    constraints: tuple[str, ...]
    """Constraints for every environment, also for packages that are installed later."""
    missing: dict[str, str]
    """Framework without a wheel for these cards -> the reason."""
    reasons: tuple[Reason, ...]
    warnings: tuple[str, ...]
    data_date: datetime.date
    unused_cards: tuple[str, ...] = ()
    """Cards of the machine that the plan does not count on."""


class CardChoice(msgspec.Struct, frozen=True, kw_only=True):
    """One choice of cards that has a stack, for a machine whose cards have none together."""

    option: str
    """ "--use 0", for `dlbox plan` and `dlbox provision`."""
    cards: tuple[str, ...]
    driver_branch: int | None
    driver_flavour: str | None
    frameworks: tuple[str, ...]


class Nearest(msgspec.Struct, frozen=True, kw_only=True):
    """The request with the smallest change for which a stack exists."""

    description: str
    cards: tuple[str, ...]
    distribution: str
    frameworks: tuple[str, ...]
    driver_branch: int | None
    driver_flavour: str | None
    backend: str


class NoStack(msgspec.Struct, frozen=True, kw_only=True):
    """No set of versions fits the request; ``because`` is one clause."""

    because: str
    nearest: Nearest | None
    choices: tuple[CardChoice, ...] = ()
    """Selections of cards for which a stack exists; empty if another selection of cards would not help."""

    @property
    def error(self) -> str:
        """The error message as a whole sentence."""
        return f"no stack exists, because {self.because}"
