"""A signed flat apt repository like NVIDIA's, served on 127.0.0.1, with dummy packages under the real names."""

from __future__ import annotations

import datetime
import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.e2e.served import Served
from tests.e2e.stand_in import deb, index


class Repository(Served):
    """A context manager; the repository is served over HTTP inside it."""

    def __init__(self, folder: Path, origin: str = "NVIDIA") -> None:
        self.folder = folder / "repository"
        self.folder.mkdir()
        self._home = folder / "gpg"
        self._home.mkdir(mode=0o700)
        self._origin = origin
        self.fingerprint = ""

    @property
    def uri(self) -> str:
        return f"{self.origin}/"

    def variable(self) -> dict[str, str]:
        """The value of the roles' variables about a repository."""
        return {"uri": self.uri, "key_url": f"{self.uri}key.asc", "fingerprint": self.fingerprint}

    def add(
        self, name: str, version: str, depends: str = "", executables: Mapping[str, str] | None = None
    ) -> None:
        deb(self.folder, name, version, depends=depends, executables=executables)

    def sign(self) -> None:
        """Write Packages, Release, InRelease and key.asc, with a new key."""
        self._key()
        index(self.folder)
        self._release(self.folder, ["Packages"], f"Origin: {self._origin}\nLabel: NVIDIA CUDA")

    def sign_suites(self, filled: str, *empty: str) -> None:
        """Lay it out like a distribution's archive, with all packages in ``restricted`` of the suite ``filled``."""
        self._key()
        index(self.folder)
        for suite in (filled, *empty):
            root = self.folder / "dists" / suite
            for component in ("main", "restricted"):
                place = root / component / "binary-amd64"
                place.mkdir(parents=True)
                full = suite == filled and component == "restricted"
                (place / "Packages").write_text((self.folder / "Packages").read_text() if full else "")
            lists = [f"{component}/binary-amd64/Packages" for component in ("main", "restricted")]
            about = f"Origin: {self._origin}\nSuite: {suite}\nCodename: {suite}\nComponents: main restricted"
            self._release(root, lists, about)

    def _key(self) -> None:
        if not self.fingerprint:
            self._gpg("--quick-generate-key", "tests <tests@example.org>", "rsa2048", "sign", "1d")
            shown = self._gpg("--list-keys", "--with-colons")
            self.fingerprint = next(
                line.split(":")[9] for line in shown.splitlines() if line.startswith("fpr:")
            )
            (self.folder / "key.asc").write_text(self._gpg("--armor", "--export"))

    def _release(self, root: Path, lists: list[str], about: str) -> None:
        now = datetime.datetime.now(datetime.UTC).strftime("%a, %d %b %Y %H:%M:%S UTC")
        sums = ""
        for name in lists:
            content = (root / name).read_bytes()
            sums += f" {hashlib.sha256(content).hexdigest()} {len(content)} {name}\n"
        (root / "Release").write_text(f"{about}\nArchitectures: amd64\nDate: {now}\nSHA256:\n{sums}")
        release = root / "InRelease"
        release.unlink(missing_ok=True)
        self._gpg("--clearsign", "--output", str(release), str(root / "Release"))

    def public(self) -> bytes:
        """The public key as a keyring file."""
        return subprocess.run(
            ["gpg", "--batch", "--homedir", str(self._home), "--export"], capture_output=True, check=True
        ).stdout

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        subprocess.run(["gpgconf", "--homedir", str(self._home), "--kill", "gpg-agent"], check=False)

    def _gpg(self, *words: str) -> str:
        command = ["gpg", "--batch", "--yes", "--homedir", str(self._home), "--passphrase", "", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
