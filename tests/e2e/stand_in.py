"""Small dummy packages under the names of the driver's real ones, for tests of the installation itself.

They are in a flat repository in the container and newer than the archive's, so that apt selects them. The dummy DKMS
installs a module that modinfo can read, for each kernel with headers. It creates /root/begun when it starts, and does
not finish while /root/slow exists.
"""

from __future__ import annotations

import hashlib
import subprocess
import textwrap
from collections.abc import Mapping
from pathlib import Path

from tests.e2e.container import Container

BRANCH = 535
VERSION = f"{BRANCH}.999.01-1"
NEW_KERNEL = "6.1.0-999-amd64"

_DKMS = """\
#!/bin/sh
# dkms autoinstall -k KERNEL
kernel=$3
[ -e "/lib/modules/$kernel/build/Makefile" ] || { echo "no headers for $kernel" >&2; exit 0; }
touch /root/begun
while [ -e /root/slow ]; do sleep 0.2; done
mkdir -p "/lib/modules/$kernel/updates/dkms"
cp /usr/src/stand-in/*.ko "/lib/modules/$kernel/updates/dkms/"
depmod "$kernel"
"""
_HOOK = '#!/bin/sh\n/usr/sbin/dkms autoinstall -k "$1"\n'
_MODULE = """
#define INFO(name, text) static const char name[] __attribute__((section(".modinfo"), used)) = text
INFO(a, "license={licence}"); INFO(b, "version={version}"); INFO(c, "name=nvidia");
"""


def install(container: Container) -> None:
    """Put the repository into the container and add it to apt's sources."""
    kernel = container.output("linux-version list | linux-version sort | tail -n 1").strip()
    place = container.root / "srv/stand-in"
    place.mkdir(parents=True)
    alias = {"/etc/modprobe.d/nvidia.conf": b"install nvidia modprobe -i nvidia-current $CMDLINE_OPTS\n"}
    compiled_here(place, "nvidia-kernel-dkms", VERSION, module="nvidia-current", files=alias)
    deb(place, "nvidia-driver", VERSION, depends="nvidia-kernel-dkms, nvidia-smi, libcuda1")
    for name in ("nvidia-smi", "libcuda1", "libnvidia-ml1"):
        deb(place, name, VERSION)
    headers(place, kernel)
    _kernel(place, NEW_KERNEL, image=True)
    index(place)
    source = container.root / "etc/apt/sources.list.d/stand-in.list"
    source.write_text("deb [trusted=yes] file:/srv/stand-in ./\n")
    container.output("sudo apt-get update -q", timeout_s=300)


def compiled_here(
    place: Path,
    name: str,
    version: str,
    *,
    module: str = "nvidia",
    licence: str = "NVIDIA",
    files: Mapping[str, bytes] | None = None,
) -> None:
    """A package whose module is installed for each kernel that has headers, as DKMS would compile it."""
    binary = compiled(place, version.partition("-")[0], licence)
    scripts = {"/usr/sbin/dkms": _DKMS, "/etc/kernel/header_postinst.d/dkms": _HOOK,
               "/etc/kernel/postinst.d/dkms": _HOOK}  # fmt: skip
    deb(
        place, name, version, executables=scripts,
        files={f"/usr/src/stand-in/{module}.ko": binary, **(files or {})},
        postinst='for k in $(linux-version list); do /usr/sbin/dkms autoinstall -k "$k"; done',
    )  # fmt: skip


def headers(place: Path, kernel: str) -> None:
    """Headers of a kernel, and the metapackage that depends on them."""
    _kernel(place, kernel, image=False)
    deb(place, "linux-headers-amd64", "6.1.900-1", depends=f"linux-headers-{kernel}")


def install_other(container: Container, version: str) -> None:
    """Install a driver of another branch by hand."""
    place = container.root / "srv/other"
    place.mkdir()
    for name in ("nvidia-driver", "libcuda1"):
        deb(place, name, version)
    container.output("sudo dpkg -i /srv/other/*.deb")


def index(place: Path) -> None:
    """Write the Packages file of a flat repository."""
    blocks = []
    for package in sorted(place.glob("*.deb")):
        control = subprocess.run(
            ["dpkg-deb", "-f", str(package)], capture_output=True, text=True, check=True
        ).stdout
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        blocks.append(
            f"{control.strip()}\nFilename: ./{package.name}\nSize: {package.stat().st_size}\nSHA256: {digest}\n"
        )
    (place / "Packages").write_text("\n".join(blocks))


def _kernel(place: Path, release: str, *, image: bool) -> None:
    """Headers of a kernel where DKMS expects them; with ``image`` the kernel as well."""
    hooks = "if [ -d {0} ]; then run-parts --arg=" + release + " {0}; fi"
    deb(
        place, f"linux-headers-{release}", "6.1.900-1",
        files={f"/usr/src/linux-headers-{release}/Makefile": b"all:\n"},
        links={f"/lib/modules/{release}/build": f"/usr/src/linux-headers-{release}"},
        postinst=hooks.format("/etc/kernel/header_postinst.d"),
    )  # fmt: skip
    if image:
        modules = f"/lib/modules/{release}/modules"
        deb(
            place, f"linux-image-{release}", "6.1.900-1",
            files={f"/boot/vmlinuz-{release}": b"\0", f"{modules}.order": b"", f"{modules}.builtin": b""},
            postinst=f"[ ! -x /etc/kernel/postinst.d/dkms ] || /etc/kernel/postinst.d/dkms {release}",
        )  # fmt: skip


def compiled(place: Path, version: str, licence: str) -> bytes:
    """A module that modinfo can read but no kernel can load."""
    source, made = place / "module.c", place / "module.o"
    source.write_text(_MODULE.replace("{version}", version).replace("{licence}", licence))
    subprocess.run(["gcc", "-c", "-o", str(made), str(source)], check=True)
    found = made.read_bytes()
    source.unlink()
    made.unlink()
    return found


def deb(
    place: Path,
    name: str,
    version: str,
    *,
    depends: str = "",
    files: Mapping[str, bytes] | None = None,
    executables: Mapping[str, str] | None = None,
    links: Mapping[str, str] | None = None,
    postinst: str = "",
) -> None:
    tree = place / f"{name}.tree"
    control = tree / "DEBIAN"
    control.mkdir(parents=True)
    (control / "control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: tests <tests@example.org>\n"
        + (f"Depends: {depends}\n" if depends else "")
        + "Description: a stand-in made by dlbox's tests\n"
    )
    if postinst:
        (control / "postinst").write_text(f"#!/bin/sh\nset -e\n{textwrap.dedent(postinst)}\n")
        (control / "postinst").chmod(0o755)
    contents = {**(files or {}), **{path: text.encode() for path, text in (executables or {}).items()}}
    for path, content in contents.items():
        target = tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(0o755 if executables and path in executables else 0o644)
    for path, to in (links or {}).items():
        target = tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(to)
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", str(tree), str(place)], check=True, capture_output=True
    )
    subprocess.run(["rm", "-r", str(tree)], check=True)
