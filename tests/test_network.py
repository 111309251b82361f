"""A company's network: settings in the inventory, and the environment of pip and uv on the controller."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from provision.artifacts import lockfiles
from provision.hosts import network
from provision.hosts.hosts import HostError
from provision.hosts.network import Network

PEM = "-----BEGIN CERTIFICATE-----\ncompany\n-----END CERTIFICATE-----\n"
PIP = """\
[global]
index-url = https://robot:secret@pypi.example.com/simple
[install]
extra-index-url =
    https://one.example.com/simple
    https://two.example.com/simple
find_links = /a /b
trusted-host = pypi.example.com
"""


def inventory(folder: Path, **variables: Any) -> Path:
    (folder / "company.pem").write_text(PEM)
    (folder / "pip.conf").write_text(PIP)
    place = folder / "hosts.yml"
    place.write_text(json.dumps({"all": {"hosts": {"desk": variables}}}))
    return place


def test_no_settings_change_nothing(tmp_path: Path) -> None:
    found = network.of_host("desk", inventory(tmp_path))
    assert found == Network()
    assert found.environment(tmp_path) == {}
    assert network.variables(found) == {}


def test_paths_are_relative_to_the_inventory_and_templates_are_rendered(tmp_path: Path) -> None:
    place = inventory(
        tmp_path,
        extra_ca_bundle="company.pem",
        pip_config="{{ inventory_dir }}/{{ which }}",
        which="pip.conf",
        proxy="http://{{ user }}@proxy:3128",
        user="me",
        apt_mirror="http://mirror/debian",
    )
    found = network.of_host("desk", place)
    assert found.proxy == "http://me@proxy:3128"
    assert found.apt_mirror == "http://mirror/debian"
    assert network.variables(found) == {
        "site_ca_bundle": str(tmp_path / "company.pem"),
        "site_pip_config": str(tmp_path / "pip.conf"),
    }


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"extra_ca_bundle": "gone.pem"}, "cannot read"),
        ({"extra_ca_bundle": "pip.conf"}, "contains no PEM certificate"),
        ({"pip_config": "company.pem"}, "is not a pip.conf"),
        ({"proxy": 3128}, "line 1: `proxy` of desk is expected to be text, as in `proxy: http://"),
        ({"proxy": "{{ nobody }}"}, "'nobody' is undefined"),
        ({"proxy": "{{ proxy }}"}, "refers to itself"),
        ({"proxy": "{{ 1 +"}, "cannot render"),
    ],
)
def test_unusable_values_are_reported_in_one_sentence(
    tmp_path: Path, values: dict[str, Any], words: str
) -> None:
    with pytest.raises(HostError) as caught:
        network.of_host("desk", inventory(tmp_path, **values))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_vaulted_value_is_ignored(tmp_path: Path) -> None:
    place = tmp_path / "hosts.yml"
    place.write_text("all:\n  hosts:\n    desk:\n      proxy: !vault |\n        $ANSIBLE_VAULT;1.1;AES256\n")
    assert network.of_host("desk", place) == Network()


def test_settings_of_pip_conf_become_variables_of_uv(tmp_path: Path) -> None:
    environment = network.of_host("desk", inventory(tmp_path, pip_config="pip.conf")).environment(tmp_path)
    assert environment == {
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
        "UV_DEFAULT_INDEX": "https://robot:secret@pypi.example.com/simple",
        "UV_INDEX": "https://one.example.com/simple https://two.example.com/simple",
        "UV_FIND_LINKS": "/a,/b",
        "UV_INSECURE_HOST": "pypi.example.com",
    }


def test_certificates_are_added_to_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own.pem"
    own.write_text("certificates of this computer")
    monkeypatch.setenv("SSL_CERT_FILE", str(own))
    place = inventory(tmp_path, extra_ca_bundle="company.pem", proxy="http://proxy:3128")
    environment = network.of_host("desk", place).environment(tmp_path)
    assert environment["PIP_CERT"] == environment["SSL_CERT_FILE"]
    assert environment["https_proxy"] == "http://proxy:3128"
    text = Path(environment["PIP_CERT"]).read_text()
    assert "certificates of this computer" in text
    assert PEM in text


def test_a_computer_without_certificates_uses_the_companys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone"))
    monkeypatch.setattr(Path, "is_file", lambda path: False)
    environment = Network(extra_ca_bundle=str(inventory(tmp_path).with_name("company.pem"))).environment(
        tmp_path
    )
    assert Path(environment["PIP_CERT"]).read_text() == PEM
    assert ssl.get_default_verify_paths()


def test_the_resolver_uses_the_network_settings_and_no_argument_contains_a_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked: list[tuple[list[str], dict[str, str]]] = []

    def answer(command: list[str], environment: dict[str, str]) -> str:
        asked.append((command, environment))
        return f"six==1.17.{len(asked)} --hash=sha256:aa\n"

    monkeypatch.setattr(lockfiles, "_output", answer)
    company = network.of_host(
        "desk", inventory(tmp_path, pip_config="pip.conf", proxy="http://me:pw@proxy:1")
    )
    text = lockfiles.lock(["six"], "3.12", network=company)
    ((command, environment),) = asked
    assert "secret" not in " ".join(command)
    assert "pw" not in " ".join(command)
    assert "secret" in environment["UV_DEFAULT_INDEX"]
    assert lockfiles.lock(["six"], "3.12", network=company) == text
    assert lockfiles.lock(["six"], "3.12") != text  # another index may have other versions
