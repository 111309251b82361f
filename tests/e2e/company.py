"""A company's server on 127.0.0.1: HTTPS with a certificate that no system trusts.

It serves a folder (a package index) and forwards /debian and /debian-security to Debian's archive.
"""

from __future__ import annotations

import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

from tests.e2e.served import Quiet, Served

_ARCHIVE = "http://deb.debian.org"
_LEAF = """\
subjectAltName=IP:127.0.0.1
basicConstraints=CA:FALSE
keyUsage=digitalSignature
extendedKeyUsage=serverAuth
"""


class _Handler(Quiet):
    def do_GET(self) -> None:  # noqa: N802 - as http.server names it
        if not self.path.startswith(("/debian/", "/debian-security/")):
            super().do_GET()
            return
        wanted = urllib.request.Request(_ARCHIVE + self.path)  # noqa: S310
        for name in ("If-Modified-Since", "Range"):
            if name in self.headers:
                wanted.add_header(name, self.headers[name])
        try:
            with urllib.request.urlopen(wanted, timeout=60) as answer:  # noqa: S310
                self.send_response(answer.status)
                for name in ("Content-Length", "Last-Modified", "Content-Range"):
                    if name in answer.headers:
                        self.send_header(name, answer.headers[name])
                self.end_headers()
                shutil.copyfileobj(answer, self.wfile)
        except urllib.error.HTTPError as error:
            self.send_error(error.code)


class Company(Served):
    """A context manager; the server runs inside it."""

    handler = _Handler

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "served"
        self.folder.mkdir()
        self.ca = folder / "ca.pem"
        leaf, key = folder / "leaf.pem", folder / "leaf.key"
        _certify(folder, self.ca, leaf, key)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(leaf, key)

    @property
    def uri(self) -> str:
        return self.origin


def _certify(folder: Path, ca: Path, leaf: Path, key: Path) -> None:
    ca_key, request, extensions = folder / "ca.key", folder / "leaf.csr", folder / "leaf.ext"
    extensions.write_text(_LEAF)
    new = ["openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for command in (
        [*new, "-x509", "-days", "2", "-subj", "/CN=a company", "-keyout", str(ca_key), "-out", str(ca)],
        [*new, "-subj", "/CN=its server", "-keyout", str(key), "-out", str(request)],
        ["openssl", "x509", "-req", "-days", "1", "-in", str(request), "-CA", str(ca), "-CAkey", str(ca_key),
         "-CAcreateserial", "-extfile", str(extensions), "-out", str(leaf)],
    ):  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
