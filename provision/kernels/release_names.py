"""What the name of a kernel (`uname -r`) says: its series, who built it, and the package with its headers.

Only a kernel that a distribution's own archive builds has prebuilt modules and a metapackage of headers. The grammar
of these names is strict: 6.13.7-061307-generic (Ubuntu mainline) and 6.12.10-76061203-generic (Pop!_OS) only look
like kernels of Canonical.
"""

from __future__ import annotations

import re

import msgspec

from provision.distributions.distribution_file import DistributionRow

_SERIES = re.compile(r"(\d{1,4})\.(\d{1,4})(?![\d])", re.ASCII)
Series = tuple[int, int]


class KernelKind(msgspec.Struct, frozen=True, kw_only=True):
    """Who builds a kernel that is not the distribution's own standard kernel."""

    id: str
    name: str
    """What to call such a kernel in a message, such as "a Proxmox kernel"."""
    headers: str = "linux-headers-{release}"
    """The package with the headers of one kernel."""
    headers_source: str = ""
    """Where the headers come from; empty: from the archive of the distribution."""


_PROXMOX_BEFORE_8_1 = KernelKind(
    id="proxmox",
    name="a kernel of Proxmox before 8.1",
    headers="pve-headers-{release}",
    headers_source="the repository of Proxmox",
)
CUSTOM = KernelKind(
    id="custom",
    name="a kernel from another source than the distribution",
    headers_source="where the kernel came from",
)

_VERSION = r"\d+\.\d+(?:\.\d+){0,2}(?:-?rc\d+)?"
_UBUNTU_FLAVOURS = (
    r"(?:lowlatency(?:-64k)?|realtime|oem|aws|azure|gcp|gke|gkeop|oracle|ibm|kvm|raspi|nvidia|intel"
    r"|intel-iotg|bluefield|xilinx|iot|dgx)(?:-(?:fde|lowlatency|edge|64k|cvm|realtime|tegra))?"
)
_KINDS: tuple[tuple[str, KernelKind], ...] = (
    (
        r"(?i:.*(?:microsoft|wsl2).*)",
        KernelKind(
            id="wsl2", name="a kernel of WSL2", headers_source="Microsoft, which publishes only the source"
        ),
    ),
    (
        rf"{_VERSION}-\d+(?:\.\d+)?(?:-bpo\d+)?-pve",
        KernelKind(
            id="proxmox",
            name="a Proxmox kernel",
            headers="proxmox-headers-{release}",
            headers_source="the repository of Proxmox",
        ),
    ),
    (
        rf"{_VERSION}-0\d{{5}}(?:rc\d+)?(?:\.\d+)?-(?:generic|lowlatency)",
        KernelKind(
            id="ubuntu-mainline",
            name="an Ubuntu mainline build",
            headers_source="kernel.ubuntu.com/mainline, as the kernel did",
        ),
    ),
    (
        rf"{_VERSION}-7\d{{7}}-generic",
        KernelKind(id="pop", name="a kernel of Pop!_OS", headers_source="the repository of Pop!_OS"),
    ),
    (
        r".*-tuxedo",
        KernelKind(id="tuxedo", name="a TUXEDO kernel", headers_source="the repository of TUXEDO"),
    ),
    (
        r".*xanmod.*",
        KernelKind(id="xanmod", name="a XanMod kernel", headers_source="the repository of XanMod"),
    ),
    (
        r".*liquorix.*",
        KernelKind(id="liquorix", name="a Liquorix kernel", headers_source="the repository of Liquorix"),
    ),
    (
        r".*zabbly.*",
        KernelKind(id="zabbly", name="a Zabbly kernel", headers_source="the repository of Zabbly"),
    ),
    (
        r".*-surface(?:-\d+)?",
        KernelKind(
            id="surface", name="a linux-surface kernel", headers_source="the repository of linux-surface"
        ),
    ),
    (
        r".*\+bpo.*|\d+\.\d+\.\d+-\d+\.(?:deb\d+|bpo)\.\d+-.*",
        KernelKind(
            id="debian-backports", name="a kernel of Debian's backports", headers_source="Debian's backports"
        ),
    ),
    (
        rf"{_VERSION}\+deb\d+(?:\.\d+)?(?:\+\d+)?(?:-(?:cloud|rt))?-(?:amd64|amd64-unsigned)",
        KernelKind(
            id="debian-backports",
            name="a kernel of Debian's backports or of another release",
            headers_source="Debian's backports",
        ),
    ),
    (
        rf"{_VERSION}(?:-\d+)?(?:-(?:cloud|rt))?-amd64",
        KernelKind(
            id="debian-other-release",
            name="a kernel of another release of Debian",
            headers_source="the release of Debian that has the kernel",
        ),
    ),
    (
        r"\d+\.\d+\.0-[1-9]\d{0,2}-generic",
        KernelKind(
            id="ubuntu-other-release",
            name="an Ubuntu kernel of another release",
            headers_source="the release of Ubuntu that has the kernel",
        ),
    ),
    (
        rf"\d+\.\d+\.\d+-[1-9]\d{{0,3}}-{_UBUNTU_FLAVOURS}",
        KernelKind(id="ubuntu-flavour", name="an Ubuntu kernel for special machines"),
    ),
    (r".*[-+.](?:tkg|cachyos|zen|realtime|rt\d*).*", CUSTOM),
)
_COMPILED = tuple((re.compile(pattern, re.ASCII), kind) for pattern, kind in _KINDS)


def series(release: str) -> Series | None:
    """(6, 17) for "6.17.13-2-pve"; None if the name does not begin with a version."""
    match = _SERIES.match(release)
    return (int(match[1]), int(match[2])) if match else None


def own_flavour(distribution: DistributionRow, release: str) -> str | None:
    """The metapackage suffix that follows this kernel: "generic", "generic-hwe-24.04", "cloud-amd64".

    None: the archive of the distribution does not build the kernel. Empty ``release``: the assumed flavour.
    """
    own = distribution.kernel
    if not release:
        return own.assumed_flavour
    here = series(release)
    if here is None:
        return None
    for flavour in sorted((own.flavour, *own.variants), key=len, reverse=True):
        if _own_name(distribution, flavour).fullmatch(release):
            break
    else:
        return None
    first = series(own.first_series) if own.first_series else None
    if first is None or here == first:
        return flavour
    later = {series(each) for each in own.later_series}
    if own.later_flavour is None or here < first or (later and here not in later):
        return None
    if flavour == own.flavour:
        return own.later_flavour
    ends_alike = own.later_flavour.endswith(own.flavour)
    return own.later_flavour.removesuffix(own.flavour) + flavour if ends_alike else None


def _own_name(distribution: DistributionRow, flavour: str) -> re.Pattern[str]:
    """The grammar of the names of one flavour.

    A name is the version, then the number of the binary interface (6.8.0-151, 6.1.0-40) or the mark of the release
    (6.12.48+deb13), then the flavour. An interface has at most three digits and does not begin with 0.
    """
    mark = rf"\+{re.escape(distribution.family[:3])}{re.escape(distribution.release)}(?:\+\d{{1,3}})?"
    interface = r"-[1-9]\d{0,2}" if distribution.kernel.numbered else rf"(?:-[1-9]\d{{0,2}}|{mark})"
    patch = r"\.0" if distribution.kernel.numbered else r"\.\d{1,4}"
    return re.compile(rf"\d+\.\d+{patch}{interface}-{re.escape(flavour)}", re.ASCII)


def kind_of(distribution: DistributionRow, release: str) -> KernelKind | None:
    """Who builds the kernel; None: the archive of the distribution, or the kernel is not known."""
    if own_flavour(distribution, release) is not None:
        return None
    for pattern, kind in _COMPILED:
        if pattern.fullmatch(release):
            here = series(release)
            # Proxmox 8.1 brought kernel 6.5 and renamed the packages.
            before = kind.id == "proxmox" and here is not None and here < (6, 5)
            return _PROXMOX_BEFORE_8_1 if before else kind
    return CUSTOM


def headers_package(distribution: DistributionRow, release: str) -> str:
    """The package with the headers: the metapackage for the distribution's own kernel, else that of one kernel."""
    flavour = own_flavour(distribution, release)
    if flavour is not None:
        return f"linux-headers-{flavour}"
    kind = kind_of(distribution, release) or CUSTOM
    return kind.headers.format(release=release)


def shown_series(found: Series | None) -> str:
    """The series as text for messages, such as "6.17"; "an unknown series" for None."""
    return f"{found[0]}.{found[1]}" if found else "an unknown series"
