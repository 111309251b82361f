"""Read `dkms status`, `dpkg -l` and `modinfo`, as files of the computer that the report is about."""

from __future__ import annotations

import re

from inventory.sources.root import Root

_DKMS = re.compile(
    r"^(?P<name>nvidia[\w.-]*)[/,]\s*(?P<version>\d[\w.+~-]*)(?:,\s*(?P<kernel>\d[\w.+~-]*),\s*(?P<machine>\w+))?:\s*"
    r"(?P<state>added|built|installed\b.*)",
    re.MULTILINE,
)
_DPKG = re.compile(
    r"^(?P<wanted>[uihrp])(?P<state>[ncHUFWti])[R ]?\s+(?P<name>[a-z0-9][a-z0-9+.-]+)(?::\w+)?\s+(?P<version>\d\S*)",
    re.MULTILINE,
)
_MODINFO = re.compile(
    r"^filename:\s+/?(?:usr/)?(?P<path>lib/modules/(?P<kernel>[^/\s]+)/\S*nvidia[\w-]*\.ko\S*)", re.MULTILINE
)
_KERNEL_PACKAGE = re.compile(r"linux-(?P<what>image|image-unsigned|headers)-(?P<release>\d+\.\d+\S*)")
_MODULES_PACKAGE = re.compile(
    r"linux-modules-nvidia-(?P<branch>\d+)(?:-server)?(?:-open)?-(?P<release>\d+\.\d+\S*)"
)
_LIBRARY_PACKAGE = re.compile(r"libnvidia-ml1|libnvidia-compute-\d+(?:-server)?|nvidia-utils-\d+(?:-server)?")
_MOST = 20_000
_STATES = {"i": "installed", "F": "half-configured", "U": "unpacked", "H": "half-installed",
           "W": "triggers-awaited", "t": "triggers-pending"}  # fmt: skip
"""The second letter of a line of `dpkg -l`, as in dpkg's status file."""


def has_dkms(text: str) -> bool:
    return _DKMS.search(text) is not None


def has_dpkg(text: str) -> bool:
    return len(_DPKG.findall(text[: 1 << 20])) >= 1


def write_dkms(text: str, root: Root) -> None:
    """Folders of DKMS, and the installed modules of each kernel."""
    root.make_folder("var/lib/dkms")
    for found in list(_DKMS.finditer(text))[:_MOST]:
        folder = f"var/lib/dkms/nvidia/{found['version']}"
        root.make_folder(folder)
        if found["kernel"] and found["state"] != "added":
            root.make_folder(f"{folder}/{found['kernel']}/{found['machine']}/module")
        if found["kernel"] and found["state"].startswith("installed"):
            root.write(f"lib/modules/{found['kernel']}/updates/dkms/nvidia.ko")


def write_dpkg(text: str, root: Root) -> tuple[bool, str | None]:
    """dpkg's status file, the kernels and their headers.

    Returns whether the list contains kernels, and the version of the installed driver library or None.
    """
    blocks, kernels, library = [], False, None
    for found in list(_DPKG.finditer(text))[:_MOST]:
        state = _STATES.get(found["state"])
        if state is None:
            continue
        name, version = found["name"], found["version"]
        wanted = {"h": "hold", "i": "install"}.get(found["wanted"], "deinstall")
        blocks.append(f"Package: {name}\nStatus: {wanted} ok {state}\nVersion: {version}\n")
        kernel, modules = _KERNEL_PACKAGE.fullmatch(name), _MODULES_PACKAGE.fullmatch(name)
        if kernel and kernel["what"] == "headers":
            root.write(f"usr/src/linux-headers-{kernel['release']}/Makefile")
        elif kernel:
            kernels = True
            root.make_folder(f"lib/modules/{kernel['release']}")
            root.write(f"boot/vmlinuz-{kernel['release']}")
        if modules:
            add_module(root, modules["release"], f"kernel/nvidia-{modules['branch']}/nvidia.ko")
        number = re.match(r"(?:\d+:)?(\d{3}\.\d+(?:\.\d+)?)", version)
        if number and _LIBRARY_PACKAGE.fullmatch(name):
            library = number[1]
    if not root.has("var/lib/dpkg/status"):
        root.write("var/lib/dpkg/status", "\n".join(blocks))
    return kernels, library


def write_modinfo(text: str, root: Root) -> bool:
    """The module file that modinfo names. Returns whether there is one."""
    for found in list(_MODINFO.finditer(text))[:100]:
        root.write(found["path"])
        add_module(root, found["kernel"], found["path"].partition(f"{found['kernel']}/")[2])
    return _MODINFO.search(text) is not None


def add_module(root: Root, kernel: str, path: str) -> None:
    """Enter a module in the kernel's index of modules."""
    index = f"lib/modules/{kernel}/modules.dep"
    root.write(index, f"{root.text(index)}{path}:\n")
