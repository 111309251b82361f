"""Download a standalone build of Python into the folder layout of uv's mirrors; uv verifies it on the box."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlparse

from common.processes.child import environment
from provision.artifacts.bundle import BundleError
from provision.hosts.network import proxies
from provision.progress import ProgressReporter


def fetch_python(
    version: str, folder: Path, variables: Mapping[str, str], progress: ProgressReporter
) -> Path:
    """Download the newest patch release of ``version`` that uv lists to ``folder``/RELEASE/NAME.

    ``variables``: environment variables with the network settings. Raises BundleError, OSError.
    """
    url = _url(version, variables)
    release, name = unquote(urlparse(url).path).split("/")[-2:]
    path = folder / release / name
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{name}.part")
    cafile = variables.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_FILE")
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler(proxies(variables)),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=cafile)),
    )
    progress.update(f"Python {version}")
    try:
        with opener.open(url, timeout=60) as response, part.open("wb") as stream:
            shutil.copyfileobj(response, stream)
    except (urllib.error.URLError, TimeoutError) as error:
        why = getattr(error, "reason", error)
        raise BundleError(f"downloading Python {version} from {url} failed: {why}") from None
    part.replace(path)
    return path


def _url(version: str, variables: Mapping[str, str]) -> str:
    """URL of the first CPython build for x86-64 and glibc in uv's list, which starts with the newest."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        raise BundleError(
            "uv is needed to download Python: install it (`pipx install uv`), then run the same command"
        )
    ended = subprocess.run(
        [uv, "python", "list", version, "--only-downloads", "--output-format", "json"],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        env=environment({**os.environ, **variables}),
    )  # fmt: skip
    try:
        found = [row["url"] for row in json.loads(ended.stdout) if _fits(row)]
    except (ValueError, KeyError, TypeError):
        found = []
    if not found:
        reason = ended.stderr.strip() or "its list contains none"
        raise BundleError(f"uv has no build of Python {version}: {reason}")
    return str(found[0])


def _fits(row: Mapping[str, object]) -> bool:
    wanted = {
        "implementation": "cpython",
        "variant": "default",
        "os": "linux",
        "arch": "x86_64",
        "libc": "gnu",
    }
    return all(row[name] == value for name, value in wanted.items())
