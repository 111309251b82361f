"""The requests and the answers of the resolver, as records."""

from __future__ import annotations

import datetime

import msgspec

from common.sourced import Verified
from inventory.cards.architectures import Flavour
from provision.distributions.distribution_file import DriverOrigin
from provision.resolve.rows import Framework


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One card of the machine. ``architecture`` None: older than Kepler, or not known."""

    name: str
    architecture: str | None
    capability: str | None = None
    """Compute capability ("8.6"); None where only the architecture is known: then its lowest is assumed."""
    maker: str = "NVIDIA"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The machine for which versions are selected. No ``targets``: a machine without an NVIDIA card."""

    distribution: str
    """ "ubuntu-24.04", "debian-12"."""
    targets: tuple[Target, ...] = ()
    kernel: str = ""
    """As ``uname -r`` prints it; empty: not known."""
    secure_boot: bool | None = None
    """None: not known."""
    frameworks: tuple[Framework, ...] = ()
    """Required frameworks; empty: all frameworks that run on these cards."""
    cuda_toolkit: bool = False
    """Also select a system CUDA toolkit, for compiling."""
    machine_type: str = "x86_64"
    environment: str = "bare-metal"


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """Why one version was selected, and how well this is known."""

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
    """The version in the source on the date of the row; apt pins the branch, not this version."""
    flavour: Flavour
    source: DriverOrigin
    packages: tuple[str, ...]
    """In the order of their installation."""
    components: tuple[str, ...] = ()
    """Archive components that must be enabled."""
    repository: Repository | None = None
    needs_mok: bool | None = None
    """Whether Secure Boot refuses the modules until their key is enrolled; None: not known."""
    ends: datetime.date | None = None
    """Last day of support of the branch; None: not known."""


class CudaPlan(msgspec.Struct, frozen=True, kw_only=True):
    """CUDA is part of the wheels; a system toolkit is installed only on request."""

    source: str
    versions: dict[str, str]
    """Environment -> the CUDA version of its wheels."""
    toolkit: str | None = None
    toolkit_packages: tuple[str, ...] = ()
    toolkit_repository: Repository | None = None
    toolkit_components: tuple[str, ...] = ()
    """Archive components that must be enabled for the toolkit."""
    capabilities: tuple[str, ...] = ()
    """The compute capabilities that it compiles for: those of the cards, without repetition."""


class CudnnPlan(msgspec.Struct, frozen=True, kw_only=True):
    source: str
    versions: dict[str, str]
    """Environment -> cuDNN version."""
    below: str | None = None
    """First cuDNN 9 without code for these cards ("9.11"); None: every version contains code for them."""


class PythonPlan(msgspec.Struct, frozen=True, kw_only=True):
    version: str
    source: str
    """ "distribution", or the tool that installs it ("uv")."""
    packages: tuple[str, ...]
    install: str | None = None
    """The command that installs it; None: it is the distribution's own."""
    tool_version: str | None = None


class Stack(msgspec.Struct, frozen=True, kw_only=True):
    """Every version for one machine, with its reason. Without a card there are no driver, CUDA and cuDNN."""

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
    """Name -> package -> exact version."""
    requirements: dict[str, tuple[str, ...]]
    """Name -> the same packages as requirements for pip."""
    indexes: dict[str, str]
    """Name -> further package index that the environment needs."""
    constraints: tuple[str, ...]
    """Constraints for every environment, also for packages that are installed later."""
    missing: dict[str, str]
    """Framework without a wheel for these cards -> the reason."""
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
    """No set of versions fits the request; ``because`` is one clause."""

    because: str
    nearest: Nearest | None

    @property
    def error(self) -> str:
        """The whole sentence."""
        return f"no stack exists, because {self.because}"
