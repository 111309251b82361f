"""Standalone builds of Python, laid out as uv expects a copy of them; on the box uv checks what it unpacks."""

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

from common.child import environment
from provision.ansible.playbook import Watcher
from provision.artifacts.bundle import BundleError


def fetch_python(version: str, folder: Path, told: Mapping[str, str], watcher: Watcher) -> Path:
    """The newest patch release that this uv knows, as RELEASE/NAME below the folder. Raises BundleError."""
    address = _address(version, told)
    release, name = unquote(urlparse(address).path).split("/")[-2:]
    path = folder / release / name
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{name}.part")
    context = ssl.create_default_context(cafile=told.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_FILE"))
    proxies = {"http": told["http_proxy"], "https": told["https_proxy"]} if "http_proxy" in told else None
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context)
    )
    watcher.update(f"Python {version}")
    try:
        with opener.open(address, timeout=60) as answer, part.open("wb") as stream:
            shutil.copyfileobj(answer, stream)
    except (urllib.error.URLError, TimeoutError) as error:
        why = getattr(error, "reason", error)
        raise BundleError(f"Python {version} did not come from {address}: {why}") from None
    part.replace(path)
    return path


def _address(version: str, told: Mapping[str, str]) -> str:
    """uv's own list names the newest first; other implementations of Python are in it as well."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        raise BundleError(
            "Python is brought by uv: install it (`pipx install uv`), then run the same command"
        )
    ended = subprocess.run(
        [uv, "python", "list", version, "--only-downloads", "--output-format", "json"],
        capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=environment({**os.environ, **told}),
    )  # fmt: skip
    try:
        found = [row["url"] for row in json.loads(ended.stdout) if _serves(row)]
    except (ValueError, KeyError, TypeError):
        found = []
    if not found:
        raise BundleError(f"uv knows no build of Python {version}: {ended.stderr.strip() or 'it lists none'}")
    return str(found[0])


def _serves(row: Mapping[str, object]) -> bool:
    wanted = {
        "implementation": "cpython",
        "variant": "default",
        "os": "linux",
        "arch": "x86_64",
        "libc": "gnu",
    }
    return all(row[name] == value for name, value in wanted.items())
