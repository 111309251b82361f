"""Turn the messages of Ansible, SSH, sudo, apt and pip into one sentence that says what to do next."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from provision.clean_text import plain, shown

_LONGEST = 600
_NO_NETWORK = re.compile(
    r"Network is unreachable|Temporary failure (in name resolution|resolving)|Name or service not known"
    r"|Failed to establish a new connection|Connection timed out|Could not (connect to|resolve) "
)
# A script that ran with its own terminal prints its errors on stdout; stderr then has this line only.
_SSH_ENDED = re.compile(r"Shared connection to \S+ closed\.$")
_SILENT = re.compile(
    r"Connection refused|(Connection|Operation) timed out|No route to host|Network is unreachable"
    r"|Could not resolve hostname [^:\s]+"
)
_CHECK_NETWORK = (
    "check its network and, behind a proxy, the inventory's `proxy`, then run the same command again"
)
_STREAMS = ("stderr", "module_stderr", "stdout", "module_stdout", "exception")
_NOT_A_SUDOER = re.compile(
    r"(?:user )?(\S+) (?:is not in the sudoers file|is not allowed to (?:run sudo|execute)|may not run sudo)",
    re.IGNORECASE,
)
_NO_REASON = ("non-zero return code", "module failure", "one or more items failed", "see stdout/stderr")


def failure_sentence(result: Mapping[str, Any]) -> str:
    """Why a task failed and, if that is known, how to fix it.

    The reason is the module's message or, without one, the last line (or last error) that its command printed.
    """
    for item in result.get("results") or ():
        if isinstance(item, dict) and item.get("failed"):
            return failure_sentence(item)
    message = one_line(result.get("msg"))
    message = re.sub(r"^(Task failed|Action failed|Module failed): ", "", message)
    every_text = " ".join(plain(str(result.get(key) or "")) for key in ("msg", *_STREAMS))
    for known in (vault_sentence(every_text), _sudo_sentence(every_text)):
        if known is not None:
            return known
    if re.match(r"No package matching '\S+' is available", message):
        return f"{message}: it is not in the box's package lists; {_CHECK_NETWORK}"
    if message and not any(words in message.lower() for words in _NO_REASON):
        return message
    for stream in _STREAMS:
        every = (line.strip() for line in plain(str(result.get(stream) or "")).splitlines())
        lines = [line for line in every if line and not _SSH_ENDED.match(line)]
        errors = [line for line in lines if re.match(r"(?i)(e:|error|fatal|\w*error:)", line)]
        no_network = next((line for line in lines if _NO_NETWORK.search(line)), None)
        if any("CERTIFICATE_VERIFY_FAILED" in line or "certificate verify failed" in line for line in lines):
            return (
                "the box does not trust the TLS certificate of the package server: if a company proxy inspects TLS, "
                "set `extra_ca_bundle` in the inventory to its certificates, then run the same command"
            )
        if no_network is not None:  # pip's last line then only says that no version was found
            return f"the box cannot reach the package server ({one_line(no_network)[:200]}): {_CHECK_NETWORK}"
        if lines:
            return one_line((errors or lines)[-1])
    return message or "it gave no reason"


def vault_sentence(text: str) -> str | None:
    """What to do if Ansible could not decrypt a value of the inventory; None for any other message."""
    if "no vault secrets found" in text:
        return (
            "the inventory contains values that are encrypted with Ansible Vault: "
            "run the same command with --ask-vault-pass"
        )
    if "Decryption failed" in text and "vault" in text:
        return (
            "this password does not decrypt the values of Ansible Vault in the inventory: run the same command again "
            "and type the password with which `ansible-vault view FILE` shows them"
        )
    return None


def _sudo_sentence(text: str) -> str | None:
    """What to do if the text is a refusal by sudo on the box; None for any other text."""
    refused = _NOT_A_SUDOER.search(text)
    if refused is not None:
        return (
            f"user {shown(refused[1])} may not use sudo on the box: run `usermod -aG sudo {shown(refused[1])}` there "
            "as root, or set ansible_user in the inventory to a user who may, then run the same command"
        )
    if re.search(
        r"Missing sudo password|sudo: a password is required|a password is required to run sudo", text
    ):
        return "sudo on the box needs a password: run the same command with --ask-become-pass"
    if re.search(r"Incorrect sudo password|Duplicate become password prompt", text):
        return (
            "sudo on the box rejected this password: run the same command again and type "
            "the password of the user who logs in there"
        )
    if re.search(r"\bsudo: (command )?not found", text):
        return (
            "sudo is not installed on the box: run `apt install sudo` there as root, and add the user who logs in to "
            "the group sudo, then run the same command"
        )
    if "no new privileges" in text or "effective uid is not 0" in text:
        return (
            "sudo cannot become root in this environment of the box, for example in an unprivileged container: "
            "run the same command as root, or on the machine itself"
        )
    return None


def unreachable_sentence(result: Mapping[str, Any], address: str = "") -> str:
    """Why SSH to a host failed, and what to do. ``address``: where Ansible connected to, if it is known."""
    text = plain(str(result.get("msg") or ""))
    why = one_line(text)
    why = re.sub(r"^(Task failed: )?(Failed to connect to the host via ssh: )?", "", why)
    known = vault_sentence(text) or _host_key_sentence(text, address) or _key_file_sentence(text)
    if known is not None:
        return known
    if "No space left on device" in why:
        return "its disk is full: free some space, then run the same command again"
    if "Permission denied" in why:
        return "it refuses the SSH key or user: set ansible_user and ansible_ssh_private_key_file in the inventory"
    silent = _SILENT.search(why)
    if silent is not None:
        return (
            f"it cannot be reached over SSH ({silent[0]}): check that it is switched on and that ansible_host and "
            "ansible_port in the inventory are right, then run the same command again"
        )
    return f"it cannot be reached over SSH ({why})" if why else "it cannot be reached over SSH"


def _host_key_sentence(text: str, address: str) -> str | None:
    """What to do about a changed, revoked or unknown host key; None if the text is not about one."""
    if "HOST IDENTIFICATION HAS CHANGED" in text or re.search(r"Host key for \S+ has changed", text):
        found = re.search(r"ssh-keygen -f \"?([^\"\n]+?)\"? -R \"?([^\"\s]+)\"?", text)
        target = re.search(r"Host key for (\S+) has changed", text)
        place = f'-f "{found[1]}" ' if found else ""
        host = found[2] if found else target[1] if target else address or "HOST"
        return (
            "its SSH host key has changed: if the box was installed again, remove the old key with "
            f'`ssh-keygen {place}-R "{host}"`, connect once with `ssh`, compare the key, then run the same command '
            "again; if it was not, another machine may answer in its place"
        )
    if "REVOKED HOST KEY" in text or "is marked as revoked" in text:
        return (
            "its SSH host key is revoked in known_hosts: give the box a new key (`ssh-keygen -A` there), "
            "then run the same command again"
        )
    if re.search(r"host key (verification failed|is known for)", text, re.IGNORECASE):
        target = re.search(r"host key is known for \[?([^\s\]]+)\]?(?::(\d+))?", text)
        host = target[1] if target else address
        port = f"-p {target[2]} " if target and target[2] else ""
        command = f"`ssh {port}{host}`" if host else "`ssh`"
        return (
            f"its SSH host key is unknown here: connect once with {command}, with the user and port of the inventory, "
            "compare the key, then run the same command again"
        )
    return None


def _key_file_sentence(text: str) -> str | None:
    """What to do if the private key cannot be used; None if SSH did not complain about a key file."""
    if "Permission denied" not in text:
        return None
    missing = re.search(r"no such identity: ([^\r\n]+?): (No such file or directory|Permission denied)", text)
    missing = missing or re.search(r"Identity file ([^\r\n]+?) not accessible: ([^.\r\n]+)", text)
    if missing is not None:
        problem = "does not exist" if missing[2].startswith("No such file") else "cannot be read"
        return (
            f"the SSH key file {missing[1]} {problem}: correct ansible_ssh_private_key_file in the inventory, or make "
            f'a key with `ssh-keygen -f "{missing[1]}"` and copy it with `ssh-copy-id`'
        )
    if re.search(r"Permissions 0\d+ for '.*' are too open", text):
        path = re.search(r"Permissions 0\d+ for '([^'\r\n]*)'", text)
        name = path[1] if path else "FILE"
        return (
            f'SSH refuses the key file {name}, because other users may read it: run `chmod 600 "{name}"`, '
            "then run the same command again"
        )
    encrypted = re.search(r'Load key "([^"\r\n]*)": incorrect passphrase', text)
    if encrypted is not None:
        return (
            f'the SSH key {encrypted[1]} has a passphrase: run `ssh-add "{encrypted[1]}"`, then run the same command '
            "again"
        )
    invalid = re.search(r'Load key "([^"\r\n]*)": (error in libcrypto|invalid format)', text)
    if invalid is not None:
        return (
            f"{invalid[1]} is not a private SSH key: correct ansible_ssh_private_key_file in the inventory, "
            "then run the same command again"
        )
    return None


def one_line(value: object) -> str:
    text = "; ".join(map(str, value)) if isinstance(value, list) else str(value or "")
    text = " ".join(plain(text).split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
