"""The root file system of the test machines: a distribution as its installer leaves it, built once and cached."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Protocol

PACKAGES = (
    "linux-image-amd64", "systemd", "systemd-sysv", "openssh-server", "sudo", "python3", "python3-apt",
    "ca-certificates", "iproute2", "pciutils", "mokutil", "kmod", "udev", "initramfs-tools", "dbus", "gpg",
    "libpam-systemd", "dbus-user-session", "e2fsprogs",
)  # fmt: skip
USER = "box"
TOOLS = {
    "mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container", "ssh-keygen": "openssh-client",
    "slirp4netns": "slirp4netns", "ip": "iproute2",
}  # fmt: skip
MINUTES_TO_BUILD = 20


class TargetMachine(Protocol):
    """A test machine on which a playbook can run."""

    name: str

    def inventory(self, folder: Path, **variables: object) -> Path: ...


def inventory(folder: Path, name: str, port: int, known_hosts: Path, **variables: object) -> Path:
    """Write an Ansible inventory of one machine on this computer, in JSON, which is valid YAML."""
    host = {
        "ansible_host": "127.0.0.1",
        "ansible_port": port,
        "ansible_user": USER,
        "ansible_ssh_private_key_file": str(cache() / "id_ed25519"),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={known_hosts}",
        **variables,
    }
    path = folder / "hosts.yml"
    path.write_text(json.dumps({"all": {"hosts": {name: host}}}, indent=2))
    return path


def cache() -> Path:
    """The folder of cached root file systems: DLBOX_E2E_CACHE, else the XDG cache folder."""
    xdg = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("DLBOX_E2E_CACHE") or xdg / "dlbox" / "e2e")


def lacking() -> str | None:
    """Why test machines cannot be started here, in one sentence; None where they can."""
    if os.geteuid() != 0:
        return "test machines need root: run `sudo ./dlbox test e2e`"
    missing = sorted(package for tool, package in TOOLS.items() if shutil.which(tool) is None)
    if missing:
        return f"test machines need these Debian packages: sudo apt install {' '.join(missing)}"
    return None


def recipe(suite: str) -> str:
    """A digest of everything that determines the base."""
    return hashlib.sha256("\n".join((suite, USER, *PACKAGES, _CUSTOM)).encode()).hexdigest()[:12]


def build(suite: str = "bookworm") -> Path:
    """The root file system of a suite, from the cache or built now (minutes)."""
    root = cache() / f"{suite}-{recipe(suite)}"
    root.parent.mkdir(parents=True, exist_ok=True)
    key = _key()
    with (root.parent / f"{root.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            _bootstrap(suite, root, key)
    return root


def _key() -> Path:
    """The SSH key that all test machines accept."""
    key = cache() / "id_ed25519"
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return key


# sshd refuses a locked account, so the account gets a password hash that no password matches.
_CUSTOM = f"""set -eu
chroot "$1" useradd -m -s /bin/bash -p '*' {USER}
install -d -m 0700 "$1/home/{USER}/.ssh"
cp "$KEY.pub" "$1/home/{USER}/.ssh/authorized_keys"
chroot "$1" chown -R {USER}: /home/{USER}/.ssh
echo '{USER} ALL=(ALL) NOPASSWD: ALL' > "$1/etc/sudoers.d/{USER}"
chmod 0440 "$1/etc/sudoers.d/{USER}"
ln -sf /dev/null "$1/etc/systemd/system/systemd-networkd.service"
ln -sf /dev/null "$1/etc/systemd/system/networking.service"
ln -sf /dev/null "$1/etc/systemd/system/apt-daily.timer"
ln -sf /dev/null "$1/etc/systemd/system/apt-daily-upgrade.timer"
echo {USER}-test > "$1/etc/hostname"
"""


def _bootstrap(suite: str, root: Path, key: Path) -> None:
    building = root.with_name(f"{root.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    log = root.with_name(f"{root.name}.log")
    with log.open("w") as stream:
        ended = subprocess.run(
            [
                "mmdebstrap", "--variant=important", "--components=main", "--dpkgopt=force-unsafe-io",
                f"--include={','.join(PACKAGES)}", f"--customize-hook={_CUSTOM}", suite, str(building),
            ],
            stdout=stream, stderr=subprocess.STDOUT, timeout=60 * MINUTES_TO_BUILD, check=False,
            env={**os.environ, "KEY": str(key)},
        )  # fmt: skip
    if ended.returncode != 0:
        shutil.rmtree(building, ignore_errors=True)
        raise RuntimeError(f"building the base of {suite} failed: see {log}")
    building.rename(root)
