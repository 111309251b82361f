"""A company's network as the inventory describes it: proxy, certificates, package index and apt mirror."""

from __future__ import annotations

import configparser
import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import jinja2.sandbox
import msgspec

from provision.clean_text import shown
from provision.hosts.inventory_file import HostError, Inventory, Variables

_FILES = ("extra_ca_bundle", "pip_config")
NAMES = ("proxy", *_FILES, "apt_mirror")
_UV = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "trusted-host": "UV_INSECURE_HOST"}
"""pip's options -> uv's variables with the same meaning. White space separates several values in both."""


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """How hosts reach package servers. For an empty field, the computer's own setting applies."""

    proxy: str = ""
    """The URL of an HTTP proxy, as in http://proxy.example.com:3128."""
    extra_ca_bundle: str = ""
    """Path on the controller of PEM certificates that are trusted in addition to the system's."""
    pip_config: str = ""
    """Path on the controller of a pip.conf."""
    apt_mirror: str = ""
    """URL that replaces the distribution's archive."""

    def environment(self, folder: Path) -> dict[str, str]:
        """Environment variables for pip, uv and downloads on the controller.

        The trusted certificates are written to ``folder``. Raises HostError, OSError.
        """
        found: dict[str, str] = {}
        if self.proxy:
            found |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), self.proxy)
        if self.pip_config:
            found |= {"PIP_CONFIG_FILE": self.pip_config, **_for_uv(Path(self.pip_config))}
        if self.extra_ca_bundle:
            bundle = folder / "ca.pem"
            certificates = [
                path.read_bytes() for path in (*_system_certificates(), Path(self.extra_ca_bundle))
            ]
            bundle.write_bytes(b"\n".join(certificates))
            found |= dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), str(bundle))
        return found

    @property
    def replaces_pypi(self) -> bool:
        """Whether the pip.conf replaces PyPI by a company's own index, beside which no other index is expected.

        Raises HostError.
        """
        options = _for_uv(Path(self.pip_config)) if self.pip_config else {}
        return bool({"UV_DEFAULT_INDEX", "UV_NO_INDEX"} & options.keys())

    def cache_key(self) -> tuple[str, ...]:
        """Settings that affect lock files: another package index may have other versions. Raises OSError."""
        return (Path(self.pip_config).read_text(encoding="utf-8"),) if self.pip_config else ()


PLAIN = Network()
"""No settings: those of the computer apply."""


def proxies(environment: Mapping[str, str]) -> dict[str, str] | None:
    """The proxies in ``Network.environment`` for urllib; None: those of this computer's own environment."""
    if "http_proxy" not in environment:
        return None
    return {"http": environment["http_proxy"], "https": environment["https_proxy"]}


def of_host(name: str, source: Path | Inventory) -> Network:
    """A host's network settings in an inventory, with absolute file paths. Raises HostError."""
    inventory = source if isinstance(source, Inventory) else Inventory(source)
    path = inventory.path
    values = inventory.variables(name)
    found: dict[str, str] = {}
    for field in NAMES:
        value = _text(name, field, values, path)
        if field in _FILES and value:
            value = str(_file(name, field, value, path))
        found[field] = value
    return Network(**found)


def variables(network: Network) -> dict[str, str]:
    """The playbooks' variables with absolute paths, which do not depend on the inventory's folder."""
    found = {"site_ca_bundle": network.extra_ca_bundle, "site_pip_config": network.pip_config}
    return {name: value for name, value in found.items() if value}


def _text(host: str, field: str, values: Variables, path: Path) -> str:
    """The value, with templates rendered from the host's variables; empty if it is vaulted or missing."""
    value = values[field].value if field in values else None
    if value is None:
        return ""
    where = f"{values[field].path}, line {values[field].line}: `{field}` of {host}"
    if not isinstance(value, str):
        raise HostError(f"{where} is expected to be text, as in `{field}: {_EXAMPLES[field]}`")
    for _ in range(8):
        if "{{" not in value:
            value = value.strip()
            if value and not _GRAMMAR[field].fullmatch(value):
                raise HostError(
                    f"{where} is expected to be {_EXPECTED[field]}, as in `{field}: {_EXAMPLES[field]}`"
                )
            return value
        known: dict[str, Any] = {other: one.value for other, one in values.items() if one.value is not None}
        known |= {"inventory_dir": str(path.absolute().parent), "inventory_hostname": host}
        sandbox = jinja2.sandbox.SandboxedEnvironment(undefined=jinja2.StrictUndefined, autoescape=False)
        try:
            value = sandbox.from_string(value).render(known)
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            raise HostError(
                f"{where} is a template that dlbox cannot render ({error}): write the value itself"
            ) from None
    raise HostError(f"{where} is a template that refers to itself: write the value itself")


_ADDRESS = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9._~:/?#\[\]@!$&()*+,;=%-]*")
_PATH = re.compile(r"[^\x00-\x1f\x7f-\x9f]{1,4096}")
_GRAMMAR = {"proxy": _ADDRESS, "apt_mirror": _ADDRESS, "extra_ca_bundle": _PATH, "pip_config": _PATH}
_EXPECTED = {
    "proxy": "an address without spaces, quotation marks and braces",
    "apt_mirror": "an address without spaces, quotation marks and braces",
    "extra_ca_bundle": "a path without control characters",
    "pip_config": "a path without control characters",
}
_EXAMPLES = {
    "proxy": "http://proxy.example.com:3128",
    "extra_ca_bundle": "company-ca.pem",
    "pip_config": "pip.conf",
    "apt_mirror": "http://mirror.example.com/debian",
}


def _file(host: str, field: str, value: str, inventory: Path) -> Path:
    path = inventory.absolute().parent / value
    try:
        path = inventory.absolute().parent / Path(value).expanduser()
        content = path.read_bytes()
    except (OSError, RuntimeError, ValueError) as error:  # an unknown home folder, a lone surrogate
        why = getattr(error, "strerror", None) or error
        raise HostError(f"`{field}` of {host}: cannot read {shown(str(path))}: {why}") from None
    if field == "pip_config":
        _for_uv(path)
    elif b"-----BEGIN CERTIFICATE-----" not in content:
        raise HostError(
            f"`{field}` of {host}: {path} contains no PEM certificate (-----BEGIN CERTIFICATE-----)"
        )
    return path


def _for_uv(path: Path) -> dict[str, str]:
    """The indexes, folders and trusted hosts of a pip.conf as uv's variables: uv does not read pip.conf."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, configparser.Error) as error:
        problem = " ".join(str(error).split())
        raise HostError(f"{path} is not a pip.conf: {problem}") from None
    options: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            options |= {key.replace("_", "-"): " ".join(text.split()) for key, text in parser.items(section)}
    found = {variable: options[option] for option, variable in _UV.items() if options.get(option)}
    if options.get("find-links"):
        found["UV_FIND_LINKS"] = ",".join(options["find-links"].split())
    if options.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        found["UV_NO_INDEX"] = "1"
    return found


def _system_certificates() -> tuple[Path, ...]:
    """Path of the file with the certificates that this computer trusts; empty if it has none."""
    default = ssl.get_default_verify_paths().cafile
    candidates = [os.environ.get("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt", default]
    return tuple(Path(path) for path in candidates if path and Path(path).is_file())[:1]
