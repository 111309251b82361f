"""Messages of Ansible, SSH, sudo, apt and pip become one sentence with the next command.

The texts are the real ones of ansible-core 2.19, OpenSSH 9.2 and sudo 1.9.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.ansible.failures import failure_sentence, unreachable_sentence
from provision.ansible.playbook import Secrets
from tests.test_playbook import run


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"msg": "No space."}, "No space."),
        ({"msg": "non-zero return code", "stderr": "a\nERROR: b\nc"}, "ERROR: b"),
        ({"msg": "non-zero return code", "stdout": "a\nlast"}, "last"),
        (
            {
                "msg": "non-zero return code",
                "stderr": "Shared connection to 127.0.0.1 closed.\r\n",
                "stdout": "some output\r\nERROR: why\r\n",
            },
            "ERROR: why",
        ),
        ({"results": [{"failed": False, "msg": "a"}, {"failed": True, "msg": "b"}]}, "b"),
        ({"msg": ["a", "b"]}, "a; b"),
        ({}, "it gave no reason"),
        (
            {"msg": "Missing sudo password"},
            "sudo on the box needs a password: run the same command with --ask-become-pass",
        ),
        (
            {"msg": "Task failed: Incorrect sudo password"},
            "sudo on the box rejected this password: run the same command again and type "
            "the password of the user who logs in there",
        ),
        ({"msg": "from https://me:word@host/simple"}, "from https://***@host/simple"),
    ],
)
def test_a_result_becomes_one_sentence(result: dict[str, Any], text: str) -> None:
    assert failure_sentence(result) == text


def test_a_lost_network_is_reported_instead_of_its_consequences() -> None:
    pip = (
        "WARNING: Retrying: [Errno 101] Network is unreachable\nERROR: No matching distribution found for six"
    )
    for result in (
        {"msg": "non-zero return code", "stderr": pip},
        {"msg": "No package matching 'python3-venv' is available"},
    ):
        assert "check its network" in failure_sentence(result)
    assert "network" not in failure_sentence(
        {"msg": "non-zero return code", "stderr": "ERROR: No matching distribution"}
    )


def test_an_untrusted_certificate_is_reported_with_the_remedy() -> None:
    pip = (
        "WARNING: Retrying after connection broken by 'SSLError(SSLCertVerificationError(1, '[SSL: "
        "CERTIFICATE_VERIFY_FAILED] certificate verify failed'))'\nERROR: No matching distribution found for six"
    )
    assert "`extra_ca_bundle`" in failure_sentence({"msg": "non-zero return code", "stderr": pip})


def test_common_ssh_failures_are_reported_with_remedies() -> None:
    assert "ssh" in unreachable_sentence({"msg": "Host key verification failed."})
    assert "ansible_user" in unreachable_sentence({"msg": "box@10.0.0.1: Permission denied (publickey)."})
    assert "free some space" in unreachable_sentence({"msg": "mkdir: No space left on device"})
    gone = "Data could not be sent to remote host. ssh: connect to host 10.0.0.1 port 22: Connection refused"
    assert unreachable_sentence({"msg": gone}).startswith(
        "it cannot be reached over SSH (Connection refused): "
    )


CHANGED = (
    "Task failed: Failed to connect to the host via ssh: @@@@@@@@@@@@@@@@@@@\r\n"
    "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n"
    "@@@@@@@@@@@@@@@@@@@\r\nIT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!"
    "\r\nSomeone could be eavesdropping on you right now (man-in-the-middle attack)!\r\n"
    "It is also possible that a host key has just been changed.\r\n"
    "The fingerprint for the ED25519 key sent by the remote host is\n"
    "SHA256:OoqlFwnxukapj2BSiHqxbPxItbR7I11Uue8o+dqWFNg.\r\nPlease contact your system administrator.\r\n"
    "Add correct host key in /home/ann/.ssh/known_hosts to get rid of this message.\r\n"
    "Offending ED25519 key in /home/ann/.ssh/known_hosts:1\r\n  remove with:\r\n"
    '  ssh-keygen -f "/home/ann/.ssh/known_hosts" -R "[10.0.0.7]:2222"\r\n'
    "Host key for [10.0.0.7]:2222 has changed and you have requested strict checking.\r\nHost key verification failed."
)
UNKNOWN = "Task failed: Failed to connect to the host via ssh: Host key verification failed."
STRICT = (
    "Task failed: Failed to connect to the host via ssh: No ED25519 host key is known for [10.0.0.7]:2222 and you have "
    "requested strict checking.\r\nHost key verification failed."
)
NO_KEY_FILE = (
    "Task failed: Failed to connect to the host via ssh: no such identity: /home/ann/.ssh/lab: No such file or "
    "directory\r\nann@10.0.0.7: Permission denied (publickey,password,keyboard-interactive)."
)
OPEN_KEY = (
    "Task failed: Failed to connect to the host via ssh: @@@@@@@@@\r\n@         WARNING: UNPROTECTED PRIVATE KEY FILE! "
    "         @\r\n@@@@@@@@@\r\nPermissions 0644 for '/home/ann/lab' are too open.\r\nIt is required that your private "
    'key files are NOT accessible by others.\r\nThis private key will be ignored.\r\nLoad key "/home/ann/lab": bad '
    "permissions\r\nann@10.0.0.7: Permission denied (publickey)."
)


@pytest.mark.parametrize(
    ("message", "part"),
    [
        (CHANGED, '`ssh-keygen -f "/home/ann/.ssh/known_hosts" -R "[10.0.0.7]:2222"`'),
        (UNKNOWN, "is unknown here: connect once with `ssh 10.0.0.7`"),
        (STRICT, "is unknown here: connect once with `ssh -p 2222 10.0.0.7`"),
        (NO_KEY_FILE, "the SSH key file /home/ann/.ssh/lab does not exist"),
        (OPEN_KEY, 'run `chmod 600 "/home/ann/lab"`'),
        ("ann@10.0.0.7: Permission denied (publickey).", "it refuses the SSH key or user"),
    ],
)
def test_each_ssh_failure_has_its_own_next_command(message: str, part: str) -> None:
    sentence = unreachable_sentence({"msg": message}, "10.0.0.7")
    assert part in sentence
    assert "\n" not in sentence
    assert ("has changed" in sentence) is (message is CHANGED)
    assert ("unknown" in sentence) is (message in (UNKNOWN, STRICT))


@pytest.mark.parametrize(
    "result",
    [
        {"msg": "ben is not in the sudoers file."},
        {"msg": "Task failed: Premature end of stream waiting for become success.\n>>> Standard Error\n"
                "ben is not in the sudoers file.\nThis incident has been reported to the administrator."},
        {"msg": "MODULE FAILURE\nSee stdout/stderr for the exact error", "rc": 1,
         "module_stderr": "Sorry, user ben is not allowed to execute '/bin/sh -c echo' as root on desk.\n"},
        {"msg": "non-zero return code", "module_stdout": "Sorry, user ben may not run sudo on desk.\r\n"},
    ],
)  # fmt: skip
def test_a_user_without_sudo_rights_gets_the_command_that_adds_him(result: dict[str, Any]) -> None:
    sentence = failure_sentence(result)
    assert sentence.startswith(
        "user ben may not use sudo on the box: run `usermod -aG sudo ben` there as root"
    )
    assert "ansible_user" in sentence


@pytest.mark.parametrize(
    ("result", "part"),
    [
        ({"msg": "Task failed: Missing sudo password"}, "--ask-become-pass"),
        ({"msg": "Premature end of stream waiting for become success.\n>>> Standard Error\n"
                 "sudo: a password is required"},
         "--ask-become-pass"),
        ({"msg": "Task failed: Duplicate become password prompt encountered"}, "rejected this password"),
        ({"msg": "MODULE FAILURE", "module_stdout": "/bin/sh: 1: sudo: not found\r\n"}, "apt install sudo"),
        ({"msg": "MODULE FAILURE", "module_stderr": 'sudo: The "no new privileges" flag is set, which prevents sudo '
          "from running as root."}, "unprivileged container"),
    ],
)  # fmt: skip
def test_other_failures_of_sudo_have_their_next_command(result: dict[str, Any], part: str) -> None:
    assert part in failure_sentence(result)


@given(st.text(max_size=300))
def test_any_text_becomes_one_line(text: str) -> None:
    for sentence in (unreachable_sentence({"msg": text}), failure_sentence({"msg": text, "stderr": text})):
        assert "\n" not in sentence
        assert sentence


@pytest.fixture
def vault_password(tmp_path: Path) -> Path:
    place = tmp_path / "password"
    place.write_text("correct horse\n")
    return place


def encrypted(text: str, password: Path) -> str:
    """``text``, encrypted by the real ansible-vault."""
    return subprocess.run(
        [Path(sys.executable).with_name("ansible-vault"), "encrypt", "--vault-password-file", str(password),
         "--output", "-"],
        input=text, capture_output=True, text=True, check=True, cwd=password.parent,
    ).stdout  # fmt: skip


@pytest.mark.parametrize("place", ["host_vars/desk.yml", "group_vars/all.yml", "inline"])
@pytest.mark.parametrize("typed", [None, "wrong"])
def test_a_vault_without_its_password_is_one_sentence(
    tmp_path: Path, vault_password: Path, place: str, typed: str | None
) -> None:
    hosts = "all:\n  hosts:\n    desk:\n      ansible_connection: local\n"
    if place == "inline":
        inner = "".join(f"          {line}\n" for line in encrypted("word", vault_password).splitlines())
        hosts += f"      secret: !vault |\n{inner}"
    else:
        (tmp_path / place).parent.mkdir()
        (tmp_path / place).write_text(encrypted("secret: word\n", vault_password))
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(hosts)
    uses = json.dumps({"name": "The secret is used", "ansible.builtin.debug": {"msg": "{{ secret }}"}})
    outcome = run(
        tmp_path,
        uses,
        inventories=(inventory,),
        hosts=("desk",),
        secrets=Secrets(vault=typed) if typed else None,
    )
    (host,) = outcome.hosts
    assert host.status == "failed"
    text = outcome.error or host.message or ""
    assert ("--ask-vault-pass" in text) is (typed is None), text
    assert ("does not decrypt" in text) is (typed is not None), text
    assert "{{" not in text
    assert "Finalization" not in text
