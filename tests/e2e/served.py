"""Serve a folder on 127.0.0.1 inside a context."""

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
        """Log nothing."""


class Served:
    """Serves ``folder``, which the subclass sets and creates, over HTTP; with ``context`` over HTTPS."""

    folder: Path
    handler: type[http.server.SimpleHTTPRequestHandler] = Quiet
    context: ssl.SSLContext | None = None
    _server: http.server.ThreadingHTTPServer | None = None

    @property
    def origin(self) -> str:
        """The server's URL: scheme, address and port."""
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
