"""A company's server on this computer's 127.0.0.1: HTTPS by a certificate that nobody else trusts.

It serves a folder (a package index), and below /debian and /debian-security what Debian's archive answers.
"""

from __future__ import annotations

import functools
import http.server
import shutil
import ssl
import subprocess
import threading
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

_ARCHIVE = "http://deb.debian.org"
_LEAF = """\
subjectAltName=IP:127.0.0.1
basicConstraints=CA:FALSE
keyUsage=digitalSignature
extendedKeyUsage=serverAuth
"""


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Says nothing of what was asked."""

    def do_GET(self) -> None:
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


class Company:
    """A context manager: served inside."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "served"
        self.folder.mkdir()
        self.ca = folder / "ca.pem"
        self._leaf, self._key = folder / "leaf.pem", folder / "leaf.key"
        self._server: http.server.ThreadingHTTPServer | None = None
        _certify(folder, self.ca, self._leaf, self._key)

    @property
    def uri(self) -> str:
        assert self._server is not None
        return f"https://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Company:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._leaf, self._key)
        handler = functools.partial(_Handler, directory=str(self.folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()


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
