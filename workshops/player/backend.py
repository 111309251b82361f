"""Choose and load the backend. Keras reads its backend once, at import: nothing may import Keras before this."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import re
import sys
import tempfile

from common.backends import BACKENDS
from workshops.player.outcome import LessonError

_START_MESSAGES = re.compile(
    r"WARNING: All log messages before absl::InitializeLog\(\)|I\d{4} .*\] oneDNN custom operations are on"
)
"""Messages that TensorFlow 2.21 prints with oneDNN even if TF_CPP_MIN_LOG_LEVEL forbids them."""


def installed() -> list[str]:
    """The backends that are installed in this environment, in order of preference."""
    return [name for name in BACKENDS if importlib.util.find_spec(name) is not None]


def choose_backend(asked: str | None, stored: str | None = None) -> str:
    """Return the requested backend, else KERAS_BACKEND, else ``stored``, else the first that is installed. Raises
    LessonError."""
    available = installed()
    if not available:
        raise LessonError("No backend is installed: install dlbox with the extra tensorflow, torch or jax.")
    default = stored if stored in available else available[0]
    wanted = asked or os.environ.get("KERAS_BACKEND") or default
    if wanted not in available:
        raise LessonError(f"The backend {wanted!r} is not installed; installed: {', '.join(available)}.")
    return wanted


def set_backend(asked: str | None = None, stored: str | None = None) -> None:
    """Choose the backend of this process and load it. Raises LessonError if Keras already uses another one."""
    chosen = choose_backend(asked, stored)
    loaded = sys.modules.get("keras")
    if loaded is not None and loaded.backend.backend() != chosen:
        raise LessonError(
            f"Keras already uses {loaded.backend.backend()} in this process: start a new process."
        )
    os.environ["KERAS_BACKEND"] = chosen
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    load_keras()


def load_keras() -> None:
    """Import Keras and hide TensorFlow's start messages. Other text on stderr is printed after the import, in order."""
    if "keras" in sys.modules:
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            importlib.import_module("keras")
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            messages.seek(0)
            lines = messages.read().decode(errors="replace").splitlines(keepends=True)
            sys.stderr.write("".join(line for line in lines if not _START_MESSAGES.match(line)))
            sys.stderr.flush()
