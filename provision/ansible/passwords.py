"""Ask for the passwords that a run needs, without echo, and test the sudo password first."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess

from provision.ansible.playbook import Secrets

TRIES = 3
_LIMIT_S = 30


class PasswordError(RuntimeError):
    """No password was given, or a wrong one; the message is one sentence."""


def ask(*, become: bool, vault: bool, here: bool) -> Secrets:
    """Ask for the passwords of sudo (``become``) and of Ansible's vault (``vault``).

    ``here``: this machine is provisioned. Its sudo is tested, and the password is asked for only if sudo needs one.
    Raises PasswordError.
    """
    if here and os.geteuid() != 0:
        sudo = shutil.which("sudo")
        if sudo is None:
            raise PasswordError("only root may install packages, and sudo is not installed: run it as root")
        needed = become or not _needs_no_password(sudo)
        return Secrets(
            become=_ask_and_test(sudo) if needed else None, vault=_prompt("the vault") if vault else None
        )
    return Secrets(
        become=_prompt("sudo") if become else None,
        vault=_prompt("the vault") if vault else None,
    )


def _needs_no_password(sudo: str) -> bool:
    # sudo treats each of Ansible's connections as new, so ignore a password that it cached.
    ended = subprocess.run(
        [sudo, "-k", "-n", "true"], capture_output=True, check=False, stdin=subprocess.DEVNULL
    )
    return ended.returncode == 0


def _ask_and_test(sudo: str) -> str:
    for _ in range(TRIES):
        password = _prompt("sudo")
        try:
            ended = subprocess.run(
                [sudo, "-S", "-k", "-p", "", "true"], input=f"{password}\n", capture_output=True, text=True,
                check=False, timeout=_LIMIT_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise PasswordError(f"sudo did not answer in {_LIMIT_S} s") from None
        if ended.returncode == 0:
            return password
        if any(words in ended.stderr for words in ("not in the sudoers", "not allowed", "may not run sudo")):
            user = getpass.getuser()
            raise PasswordError(
                f"user {user} may not use sudo: run `su -c '/usr/sbin/usermod -aG sudo {user}'`, log in again, then "
                "run the same command; or run it as root"
            )
    raise PasswordError(f"sudo rejected the password {TRIES} times: nothing was changed")


def _prompt(whose: str) -> str:
    try:
        return getpass.getpass(f"Password of {whose}: ")
    except EOFError:
        raise PasswordError(
            f"the password of {whose} is needed, and stdin is not a terminal: run the command in a terminal"
        ) from None
