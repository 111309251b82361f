"""What is asked of the resolver and what it answers, as plain records."""

from __future__ import annotations

import datetime

import msgspec

from provision.resolve.rows import Flavour, Framework, Origin, Verified


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One card to serve. ``architecture`` None: older than everything in stack.yml, or unheard of."""

    name: str
    architecture: str | None
    capability: str | None = None
    """ "8.6"; None where only the family is known, from the PCI id or the name: then its lowest is assumed."""
    maker: str = "NVIDIA"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A box that is to be made right. No ``targets``: a machine without an NVIDIA card."""

    distribution: str
    """ "ubuntu-24.04", "debian-12"."""
    targets: tuple[Target, ...] = ()
    kernel: str = ""
    """As ``uname -r`` prints it; empty where it is not known."""
    secure_boot: bool | None = None
    """None: not known."""
    frameworks: tuple[Framework, ...] = ()
    """Wanted without fail; empty: all that run on these cards."""
    cuda_toolkit: bool = False
    """Also a system CUDA toolkit, for compiling."""
    machine_type: str = "x86_64"
    environment: str = "bare-metal"


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why one thing was chosen, and how well that is known."""

    topic: str
    choice: str
    why: str
    source: str
    verified: Verified
    date: datetime.date


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """An apt repository to add, with the key that must sign it."""

    uri: str
    keyring: str
    """NVIDIA's package with key and source entry; the role takes the key alone."""
    key_url: str
    fingerprint: str


class DriverPlan(msgspec.Struct, frozen=True, kw_only=True):
    branch: int
    version: str
    """What the source carried on the row's date; the branch is what is pinned."""
    flavour: Flavour
    source: Origin
    """prebuilt: the distribution's signed modules. dkms: compiled here, from the distribution's packages.
    distribution: Debian's own, compiled here. nvidia-repository: NVIDIA's, compiled here."""
    packages: tuple[str, ...]
    """In the order in which they are installed."""
    components: tuple[str, ...] = ()
    """Archive components that must be enabled."""
    repository: Repository | None = None
    needs_mok: bool | None = None
    """Whether Secure Boot refuses the modules until their key is enrolled; None: its state is not known."""
    ends: datetime.date | None = None
    """Last day of the branch's support, where one is recorded."""


class CudaPlan(msgspec.Struct, frozen=True, kw_only=True):
    """CUDA comes inside the wheels; a system toolkit only on request."""

    source: str
    versions: dict[str, str]
    """Environment -> CUDA version its wheels were built with."""
    toolkit: str | None = None
    toolkit_packages: tuple[str, ...] = ()
    toolkit_repository: Repository | None = None
    toolkit_components: tuple[str, ...] = ()
    """Archive components that must be enabled for it."""
    capabilities: tuple[str, ...] = ()
    """What it compiles for: the cards' own, each once."""


class CudnnPlan(msgspec.Struct, frozen=True, kw_only=True):
    source: str
    versions: dict[str, str]
    """Environment -> cuDNN version."""
    below: str | None = None
    """First cuDNN 9 without code for these cards, "9.11"; None where every one has it."""


class PythonPlan(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    source: str
    """ "distribution", or the tool that brings one ("uv")."""
    packages: tuple[str, ...]
    install: str | None = None
    """The command that brings it, where it is not the distribution's."""
    tool_version: str | None = None


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """Every version for one box, each with its reason. Without a card no driver, CUDA or cuDNN."""

    cards: tuple[str, ...]
    distribution: str
    driver: DriverPlan | None
    cuda: CudaPlan | None
    cudnn: CudnnPlan | None
    python: PythonPlan
    backend: str
    """Keras's default here."""
    keras: str
    environments: dict[str, dict[str, str]]
    """Name -> package -> exact version."""
    requirements: dict[str, tuple[str, ...]]
    """Name -> the same, as pip wants it written."""
    indexes: dict[str, str]
    """Name -> package index beside the standard one, where one is needed."""
    constraints: tuple[str, ...]
    """Hold in every environment, whatever else is installed there."""
    missing: dict[str, str]
    """Framework that has nothing for these cards -> why."""
    reasons: tuple[Reason, ...]
    warnings: tuple[str, ...]
    data_date: datetime.date


class Nearest(msgspec.Struct, frozen=True, kw_only=True):
    """The smallest change of the request that has a stack."""

    description: str
    cards: tuple[str, ...]
    distribution: str
    frameworks: tuple[str, ...]
    driver_branch: int | None
    driver_flavour: str | None
    backend: str


class NoStack(msgspec.Struct, frozen=True, kw_only=True):
    """No set of versions serves the request; ``because`` is one sentence."""

    because: str
    nearest: Nearest | None

    @property
    def error(self) -> str:
        return f"no stack exists, because {self.because}"
