"""The distribution's packages of a bundle with what they depend on, downloaded by apt and checked by its signatures."""

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

from common.child import environment
from common.guard import prefix
from provision.ansible.playbook import Watcher
from provision.artifacts import bundle
from provision.artifacts.bundle import BundleError
from provision.distributions.distribution_file import DistributionRow, PackageArchive
from provision.hosts.network import Network
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
_PINNED = "Package: *nvidia* libcuda* libnv* libxnvctrl*\nPin: version {branch}.*\nPin-Priority: 1000\n\n"
_ONLY_TOOLKIT = "Package: *\nPin: release o=NVIDIA\nPin-Priority: 100\n"
_STATUS = re.compile(r"^dlstatus:[^:]*:([0-9.]+):(.*)$")


def fetch(
    stack: Stack,
    release: DistributionRow,
    kernel: str,
    network: Network,
    folder: Path,
    told: Mapping[str, str],
    watcher: Watcher,
) -> None:
    """``debs`` with an index that apt reads, and ``keys``. Raises BundleError."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise BundleError("collecting packages needs apt-get and dpkg-deb, as Debian and Ubuntu have them")
    debs, keys = folder / "debs", folder / "keys"
    for place in (debs / "partial", keys):
        place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=prefix()) as temporary:
        apt = _Apt(Path(temporary), debs, told, watcher)
        repository = _repository(stack)
        if repository is not None:
            apt.use(_key(repository, keys / "nvidia.asc", told))
        apt.configure(_sources(stack, release.archive, network, repository, apt.key), _preferences(stack))
        watcher.update("package lists")
        apt.get("update", "-o", "APT::Update::Error-Mode=any")
        headers = _headers(stack, release, kernel, apt)
        kept = set()
        for recommended, names in (
            ("true", [*bundle.with_recommended(stack), *headers]),
            ("false", [*bundle.alone(stack)]),
        ):
            if names:
                command = ["install", "-o", f"APT::Install-Recommends={recommended}", *names]
                kept |= apt.files(*command)
                apt.get(*command, "--download-only", said="packages")
    for path in debs.glob("*.deb"):
        if path.name not in kept:
            path.unlink()
    for rest in ("partial", "lock"):
        path = debs / rest
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    _index(debs, watcher)


class _Apt:
    """apt-get with sources, lists and state of its own."""

    def __init__(self, root: Path, archives: Path, told: Mapping[str, str], watcher: Watcher) -> None:
        self._root, self._archives, self._watcher = root, archives.absolute(), watcher
        self.key: Path | None = None
        self._environment = {**os.environ, **told, "APT_CONFIG": str(root / "apt.conf"), "LC_ALL": "C.UTF-8"}
        for place in (
            "etc/apt/preferences.d",
            "etc/apt/sources.list.d",
            "var/lib/apt/lists/partial",
            "var/cache/apt",
        ):
            (root / place).mkdir(parents=True)
        (root / "status").touch()
        text = _CONFIGURATION.format(root=root, archives=self._archives)
        if "SSL_CERT_FILE" in told:
            text += f'Acquire::https::CAInfo "{told["SSL_CERT_FILE"]}";\n'
        (root / "apt.conf").write_text(text, encoding="utf-8")

    def use(self, key: Path) -> None:
        """Without the spaces that a bundle's own folder may have in its name."""
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
        """Names below the archives of what the command would install."""
        names = uris(self._run(["--print-uris", "--reinstall", *words]))
        here = {path.name for path in self._archives.glob("*.deb")}
        wanted = re.findall(
            r"^Inst (\S+) \((\S+) .*\[(\S+)\]\)", self._run(["--simulate", *words]), re.MULTILINE
        )
        named = {f"{name}_{version.replace(':', '%3a')}_{arch}.deb" for name, version, arch in wanted}
        return names | (here & named)

    def get(self, *words: str, said: str = "") -> None:
        self._run([*words], said=said)

    def _run(self, words: Sequence[str], said: str = "") -> str:
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
                        if status and said:
                            self._watcher.update(f"{said}: {status[2].strip()}", share=float(status[1]) / 100)
            errors.seek(0)
            if process.returncode != 0:
                why = [line[3:] for line in errors.read().splitlines() if line.startswith("E: ")]
                raise BundleError(
                    f"apt did not bring the packages: {'; '.join(why[:3]) or 'it gives no reason'}"
                )
            out.seek(0)
            return out.read()


def uris(printed: str) -> set[str]:
    """File names of ``apt-get --print-uris``: 'address' name size, and an MD5 sum where the archive has one.

    Debian's own has, its security archive has not.
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
            f"the keys of the archive of {stack.distribution} are missing: sudo apt install {archive.keyring_package}"
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
    """The branch stays, as the pinning package holds it on the box; see the roles' own templates."""
    if stack.driver is not None and stack.driver.repository is not None:
        return _PINNED.format(branch=stack.driver.branch)
    return _ONLY_TOOLKIT if _repository(stack) is not None else ""


def _headers(stack: Stack, release: DistributionRow, kernel: str, apt: _Apt) -> list[str]:
    """Where modules are compiled on the box: for its kernel, else for the newest of the release, which comes along."""
    if stack.driver is None or stack.driver.source == "prebuilt":
        return []
    if not kernel:
        flavour = release.kernel.flavour
        return [f"linux-headers-{flavour}", f"linux-image-{flavour}"]
    if not apt.knows(f"linux-headers-{kernel}"):
        raise BundleError(
            f"the archive has no headers for kernel {kernel}: update the box's kernel first, and say the new one"
        )
    return [f"linux-headers-{kernel}"]


def _key(repository: Repository, path: Path, told: Mapping[str, str]) -> Path:
    """NVIDIA's key, by its fingerprint."""
    if not path.is_file():
        proxies = {"http": told["http_proxy"], "https": told["https_proxy"]} if "http_proxy" in told else None
        opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
        try:
            with opener.open(repository.key_url, timeout=60) as answer:
                path.write_bytes(answer.read())
        except (urllib.error.URLError, TimeoutError) as error:
            why = getattr(error, "reason", error)
            raise BundleError(f"the key {repository.key_url} did not come: {why}") from None
    with tempfile.TemporaryDirectory(prefix=prefix()) as home:
        command = ["gpg", "--batch", "--homedir", home, "--show-keys", "--with-colons", str(path)]
        shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = [line.split(":")[9] for line in shown.splitlines() if line.startswith("fpr:")]
    if found[:1] != [repository.fingerprint]:
        path.unlink()
        has = found[0] if found else "nothing readable"
        raise BundleError(
            f"the key {repository.key_url} has the fingerprint {has}, expected was {repository.fingerprint}"
        )
    return path


def _index(place: Path, watcher: Watcher) -> None:
    """The Packages file of a flat repository."""
    blocks = []
    every = sorted(place.glob("*.deb"))
    for number, deb in enumerate(every):
        watcher.update(f"index: {deb.name}", share=number / len(every))
        control = subprocess.run(["dpkg-deb", "-f", str(deb)], capture_output=True, text=True, check=False)
        if control.returncode != 0:
            deb.unlink()
            raise BundleError(f"{deb.name} is no package, and was removed: run the same command again")
        content = deb.read_bytes()
        blocks.append(
            f"{control.stdout.strip()}\nFilename: ./{deb.name}\nSize: {len(content)}\n"
            f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
        )
    (place / "Packages").write_text("\n".join(blocks), encoding="utf-8")
