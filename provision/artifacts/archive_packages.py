"""Download a bundle's Debian packages and their dependencies with apt, which verifies the archive's signatures."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from common.processes.child import environment
from common.processes.guard import prefix
from provision.artifacts.bundle import (
    BundleError,
    BundleRequest,
    packages_with_recommended,
    packages_without_recommended,
)
from provision.distributions.distribution_file import DistributionRow, PackageArchive
from provision.hosts.network import Network, proxies
from provision.progress import ProgressReporter
from provision.resolve.model import Repository, Stack

_CONFIGURATION = """\
Dir "{root}/";
Dir::State::status "{root}/status";
Dir::Cache::archives "{archives}/";
Dir::Etc::parts "/etc/apt/apt.conf.d";
Dir::Bin::methods "/usr/lib/apt/methods";
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Sandbox::User "root";
APT::Get::Assume-Yes "true";
Acquire::Languages "none";
Acquire::Retries "3";
"""
_PIN_BRANCH = "Package: *nvidia* libcuda* libnv* libxnvctrl*\nPin: version {branch}.*\nPin-Priority: 1000\n\n"
_PIN_LOW = "Package: *\nPin: release o=NVIDIA\nPin-Priority: 100\n"
_STATUS = re.compile(r"^dlstatus:[^:]*:([0-9.]+):(.*)$")


def fetch(
    request: BundleRequest,
    release: DistributionRow,
    folder: Path,
    variables: Mapping[str, str],
    progress: ProgressReporter,
) -> None:
    """Fill ``folder``/debs, with an index for apt, and ``folder``/keys. Raises BundleError, OSError.

    ``variables``: environment variables with the network settings (see ``Network.environment``).
    """
    stack = request.stack
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise BundleError(
            "collecting packages needs apt-get and dpkg-deb: run this on a computer with Debian or Ubuntu"
        )
    debs, keys = folder / "debs", folder / "keys"
    for needed in (debs / "partial", keys):
        needed.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=prefix()) as temporary:
        apt = _Apt(Path(temporary), debs, variables, progress)
        repository = _repository(stack)
        if repository is not None:
            apt.use_key(_key(repository, keys / "nvidia.asc", variables))
        apt.configure(
            _sources(stack, release.archive, request.network, repository, apt.key), _preferences(stack)
        )
        progress.update("package lists")
        apt.get("update", "-o", "APT::Update::Error-Mode=any")
        headers = _headers(stack, release, request.kernel, apt)
        needed_debs = set()
        for recommended, names in (
            ("true", [*packages_with_recommended(stack), *headers]),
            ("false", [*packages_without_recommended(stack)]),
        ):
            if names:
                command = ["install", "-o", f"APT::Install-Recommends={recommended}", *names]
                needed_debs |= apt.files(*command)
                apt.get(*command, "--download-only", label="packages")
    for path in debs.glob("*.deb"):
        if path.name not in needed_debs:
            path.unlink()
    for leftover in (debs / "partial", debs / "lock"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)
    _index(debs, progress)


class _Apt:
    """apt-get with its own sources, lists and state below ``root``; packages go to ``archives``."""

    def __init__(
        self, root: Path, archives: Path, variables: Mapping[str, str], progress: ProgressReporter
    ) -> None:
        self._root, self._archives, self._progress = root, archives.absolute(), progress
        self.key: Path | None = None
        own = {"APT_CONFIG": str(root / "apt.conf"), "LC_ALL": "C.UTF-8"}
        self._environment = {**os.environ, **variables, **own}
        for name in (
            "etc/apt/preferences.d",
            "etc/apt/sources.list.d",
            "var/lib/apt/lists/partial",
            "var/cache/apt",
        ):
            (root / name).mkdir(parents=True)
        (root / "status").touch()
        text = _CONFIGURATION.format(root=root, archives=self._archives)
        if "SSL_CERT_FILE" in variables:
            text += f'Acquire::https::CAInfo "{variables["SSL_CERT_FILE"]}";\n'
        (root / "apt.conf").write_text(text, encoding="utf-8")

    def use_key(self, key: Path) -> None:
        """Copy the key to a path without spaces, because apt needs one and the path of a bundle may contain spaces."""
        self.key = self._root / "nvidia.asc"
        shutil.copy(key, self.key)

    def configure(self, sources: str, preferences: str) -> None:
        (self._root / "etc/apt/sources.list").write_text(sources, encoding="utf-8")
        (self._root / "etc/apt/preferences").write_text(preferences, encoding="utf-8")

    def knows(self, name: str) -> bool:
        command = ["apt-cache", "show", "--no-all-versions", name]
        ended = subprocess.run(command, capture_output=True, check=False, env=self._environment)
        return ended.returncode == 0

    def files(self, *words: str) -> set[str]:
        """File names of the packages that the command would install."""
        names = uris(self._run(["--print-uris", "--reinstall", *words]))
        here = {path.name for path in self._archives.glob("*.deb")}
        planned = re.findall(
            r"^Inst (\S+) \((\S+) .*\[(\S+)\]\)", self._run(["--simulate", *words]), re.MULTILINE
        )
        named = {f"{name}_{version.replace(':', '%3a')}_{arch}.deb" for name, version, arch in planned}
        return names | (here & named)

    def get(self, *words: str, label: str = "") -> None:
        """Run `apt-get WORDS`. If ``label`` is given, show the progress under that label. Raises BundleError."""
        self._run([*words], label)

    def _run(self, words: Sequence[str], label: str = "") -> str:
        # Not common.processes.child: apt reports its progress on a pipe of its own, and a download has no time limit.
        reader, writer = os.pipe()
        command = ["apt-get", "-q", "-o", f"APT::Status-Fd={writer}", *words]
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
            with subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                pass_fds=[writer],
                env=environment(self._environment),
            ) as process:
                os.close(writer)
                with os.fdopen(reader, encoding="utf-8", errors="replace") as stream:
                    for line in stream:
                        status = _STATUS.match(line)
                        if status and label:
                            share = float(status[1]) / 100
                            self._progress.update(f"{label}: {status[2].strip()}", share=share)
            errors.seek(0)
            if process.returncode != 0:
                why = [line[3:] for line in errors.read().splitlines() if line.startswith("E: ")]
                raise BundleError(
                    f"apt did not download the packages: {'; '.join(why[:3]) or 'it gave no reason'}"
                )
            out.seek(0)
            return out.read()


def uris(printed: str) -> set[str]:
    """File names in the output of ``apt-get --print-uris``: lines of 'URL' NAME SIZE [MD5 sum].

    Debian's main archive has MD5 sums; its security archive has none.
    """
    every = [line.split() for line in printed.splitlines() if line.startswith("'")]
    return {line[1] for line in every if len(line) >= 3}


def _repository(stack: Stack) -> Repository | None:
    of_toolkit = stack.cuda.toolkit_repository if stack.cuda is not None else None
    return (stack.driver.repository if stack.driver is not None else None) or of_toolkit


def _sources(
    stack: Stack, archive: PackageArchive, network: Network, repository: Repository | None, key: Path | None
) -> str:
    """Source lines for apt: the archive or its mirror, its security updates, and NVIDIA's repository."""
    keyring = Path(archive.keyring)
    if not keyring.is_file():
        raise BundleError(
            f"the keys of the archive of {stack.distribution} are not installed here: "
            f"sudo apt install {archive.keyring_package}"
        )
    components = list(archive.components)
    for plan in (stack.driver and stack.driver.components, stack.cuda and stack.cuda.toolkit_components):
        components += [component for component in plan or () if component not in components]
    uri = network.apt_mirror.rstrip("/") or archive.uri
    lines = [(uri, suite) for suite in archive.suites]
    if archive.security is not None:
        lines.append((f"{uri}{archive.security.suffix}", archive.security.suite))
    text = "".join(f"deb [signed-by={keyring}] {at} {suite} {' '.join(components)}\n" for at, suite in lines)
    return text + (f"deb [signed-by={key}] {repository.uri} /\n" if repository is not None else "")


def _preferences(stack: Stack) -> str:
    """Pins that select the planned driver branch, as the pinning package does on the box (see the roles' templates)."""
    if stack.driver is not None and stack.driver.repository is not None:
        return _PIN_BRANCH.format(branch=stack.driver.branch)
    return _PIN_LOW if _repository(stack) is not None else ""


def _headers(stack: Stack, release: DistributionRow, kernel: str, apt: _Apt) -> list[str]:
    """Kernel headers, if the box compiles modules: for its own kernel, else for the newest kernel of the release.

    In the second case, the bundle also contains the newest kernel.
    """
    if stack.driver is None or stack.driver.source == "prebuilt":
        return []
    if not kernel:
        flavour = release.kernel.flavour
        return [f"linux-headers-{flavour}", f"linux-image-{flavour}"]
    if not apt.knows(f"linux-headers-{kernel}"):
        raise BundleError(
            f"the archive has no headers for kernel {kernel}: update the box's kernel, "
            "then collect the bundle for the new one"
        )
    return [f"linux-headers-{kernel}"]


def _key(repository: Repository, path: Path, variables: Mapping[str, str]) -> Path:
    """Download NVIDIA's key to ``path`` unless it exists there, and check its fingerprint."""
    if not path.is_file():
        opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies(variables)))
        try:
            with opener.open(repository.key_url, timeout=60) as answer:
                path.write_bytes(answer.read())
        except (urllib.error.URLError, TimeoutError) as error:
            why = getattr(error, "reason", error)
            raise BundleError(f"downloading the key {repository.key_url} failed: {why}") from None
    with tempfile.TemporaryDirectory(prefix=prefix()) as home:
        command = ["gpg", "--batch", "--homedir", home, "--show-keys", "--with-colons", str(path)]
        output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    fingerprints = [line.split(":")[9] for line in output.splitlines() if line.startswith("fpr:")]
    if fingerprints[:1] != [repository.fingerprint]:
        path.unlink()
        actual = f"has the fingerprint {fingerprints[0]}" if fingerprints else "is not an OpenPGP key"
        raise BundleError(f"the key {repository.key_url} {actual}, expected {repository.fingerprint}")
    return path


def _index(folder: Path, progress: ProgressReporter) -> None:
    """Write the Packages file of a flat repository. Raises BundleError for a damaged package, which is removed."""
    blocks = []
    debs = sorted(folder.glob("*.deb"))
    for number, deb in enumerate(debs):
        progress.update(f"index: {deb.name}", share=number / len(debs))
        control = subprocess.run(["dpkg-deb", "-f", str(deb)], capture_output=True, text=True, check=False)
        if control.returncode != 0:
            deb.unlink()
            raise BundleError(
                f"{deb.name} is not a Debian package and was removed: run the same command again"
            )
        content = deb.read_bytes()
        blocks.append(
            f"{control.stdout.strip()}\nFilename: ./{deb.name}\nSize: {len(content)}\n"
            f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
        )
    (folder / "Packages").write_text("\n".join(blocks), encoding="utf-8")
