"""A folder served on this computer's own 127.0.0.1, from entering a context to leaving it."""

from __future__ import annotations

import functools
import http.server
import ssl
import threading
from pathlib import Path
from types import TracebackType
from typing import Self


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Says nothing of what was asked."""


class Served:
    """Over HTTP, or over HTTPS where there is a ``context``; ``folder`` is to be set and made by the subclass."""

    folder: Path
    handler: type[http.server.SimpleHTTPRequestHandler] = Quiet
    context: ssl.SSLContext | None = None
    _server: http.server.ThreadingHTTPServer | None = None

    @property
    def origin(self) -> str:
        """Scheme, address and port."""
        assert self._server is not None
        return f"{'http' if self.context is None else 'https'}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        handler = functools.partial(self.handler, directory=str(self.folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        if self.context is not None:
            self._server.socket = self.context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
