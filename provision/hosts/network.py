"""A company's network as the inventory describes it: proxy, certificates, an index and a mirror of one's own."""

from __future__ import annotations

import configparser
import os
import re
import ssl
from pathlib import Path
from typing import Any

import jinja2
import jinja2.sandbox
import msgspec

from provision.ansible.clean_text import shown
from provision.hosts.inventory_file import HostError, Inventory, Variables

_FILES = ("extra_ca_bundle", "pip_config")
NAMES = ("proxy", *_FILES, "apt_mirror")
_UV = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "trusted-host": "UV_INSECURE_HOST"}
"""pip's options and uv's variables of the same meaning; several values stand apart by white space in both."""


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """Empty: nothing is said, and what this computer's own environment says holds."""

    proxy: str = ""
    """As in http://proxy.example.com:3128."""
    extra_ca_bundle: str = ""
    """Certificates in PEM on the controller, trusted beside those that are trusted already."""
    pip_config: str = ""
    """A pip.conf on the controller."""
    apt_mirror: str = ""
    """In place of the distribution's archive."""

    def environment(self, folder: Path) -> dict[str, str]:
        """For pip and uv on the controller; ``folder`` takes the certificates. Raises HostError."""
        found: dict[str, str] = {}
        if self.proxy:
            found |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), self.proxy)
        if self.pip_config:
            found |= {"PIP_CONFIG_FILE": self.pip_config, **_for_uv(Path(self.pip_config))}
        if self.extra_ca_bundle:
            bundle = folder / "ca.pem"
            every = [path.read_bytes() for path in (*_trusted(), Path(self.extra_ca_bundle))]
            bundle.write_bytes(b"\n".join(every))
            found |= dict.fromkeys(("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), str(bundle))
        return found

    def question(self) -> tuple[str, ...]:
        """What a lock file depends on: another index may answer otherwise."""
        return (Path(self.pip_config).read_text(encoding="utf-8"),) if self.pip_config else ()


PLAIN = Network()
"""Nothing is said."""


def of_host(name: str, place: Path) -> Network:
    """What the inventory says of a host's network, paths absolute from its folder. Raises HostError."""
    inventory = Inventory(place)
    said = inventory.variables(name)
    found: dict[str, str] = {}
    for field in NAMES:
        value = _text(name, field, said, place)
        if field in _FILES and value:
            value = str(_file(name, field, value, place))
        found[field] = value
    return Network(**found)


def variables(network: Network) -> dict[str, str]:
    """For the playbooks: files as absolute paths, whatever the inventory's folder is."""
    found = {"site_ca_bundle": network.extra_ca_bundle, "site_pip_config": network.pip_config}
    return {name: value for name, value in found.items() if value}


def _text(host: str, field: str, said: Variables, place: Path) -> str:
    """The value with its templates filled in from the host's own variables; empty where it is vaulted or not there."""
    value = said[field].value if field in said else None
    if value is None:
        return ""
    where = f"{said[field].path}, line {said[field].line}: `{field}` of {host}"
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
        known: dict[str, Any] = {other: one.value for other, one in said.items() if one.value is not None}
        known |= {"inventory_dir": str(place.absolute().parent), "inventory_hostname": host}
        sandbox = jinja2.sandbox.SandboxedEnvironment(undefined=jinja2.StrictUndefined, autoescape=False)
        try:
            value = sandbox.from_string(value).render(known)
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            raise HostError(f"{where} cannot be filled in here ({error}): write the value") from None
    raise HostError(f"{where} names itself: write the value")


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


def _file(host: str, field: str, value: str, place: Path) -> Path:
    path = place.absolute().parent / value
    try:
        path = place.absolute().parent / Path(value).expanduser()
        content = path.read_bytes()
    except (OSError, RuntimeError, ValueError) as error:  # no such home, half a character
        why = getattr(error, "strerror", None) or error
        raise HostError(f"`{field}` of {host}: cannot read {shown(str(path))}: {why}") from None
    if field == "pip_config":
        _for_uv(path)
    elif b"-----BEGIN CERTIFICATE-----" not in content:
        raise HostError(
            f"`{field}` of {host}: {path} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"
        )
    return path


def _for_uv(path: Path) -> dict[str, str]:
    """uv does not read pip.conf: its index, further indexes, folders and trusted hosts as uv's own variables."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, configparser.Error) as error:
        problem = " ".join(str(error).split())
        raise HostError(f"{path} is no pip.conf: {problem}") from None
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


def _trusted() -> tuple[Path, ...]:
    """The file of certificates that this computer trusts already; none where it keeps none."""
    found = ssl.get_default_verify_paths().cafile
    every = [os.environ.get("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt", found]
    return tuple(Path(path) for path in every if path and Path(path).is_file())[:1]
