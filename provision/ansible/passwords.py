"""The passwords that a run needs, typed where nobody sees them, and tried before anything else is done."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess

from provision.ansible.playbook import Secrets

TRIES = 3
_LIMIT_S = 30


class PasswordError(RuntimeError):
    """There is no password, or not the right one; the message is one sentence."""


def ask(*, become: bool, vault: bool, here: bool) -> Secrets:
    """``here``: this machine is worked on, whose sudo may want a password. Raises PasswordError."""
    if here and os.geteuid() != 0:
        sudo = shutil.which("sudo")
        if sudo is None:
            raise PasswordError("only root may install here, and there is no sudo: run it as root")
        wanted = become or not _asks_for_none(sudo)
        return Secrets(become=_tried(sudo) if wanted else None, vault=_typed("the vault") if vault else None)
    return Secrets(
        become=_typed("sudo") if become else None,
        vault=_typed("the vault") if vault else None,
    )


def _asks_for_none(sudo: str) -> bool:
    # Each of Ansible's connections is new to sudo, so that a password of minutes ago does not count.
    ended = subprocess.run(
        [sudo, "-k", "-n", "true"], capture_output=True, check=False, stdin=subprocess.DEVNULL
    )
    return ended.returncode == 0


def _tried(sudo: str) -> str:
    for _ in range(TRIES):
        password = _typed("sudo")
        try:
            ended = subprocess.run(
                [sudo, "-S", "-k", "-p", "", "true"], input=f"{password}\n", capture_output=True, text=True,
                check=False, timeout=_LIMIT_S,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise PasswordError(f"sudo did not answer in {_LIMIT_S} s") from None
        if ended.returncode == 0:
            return password
        if "not in the sudoers" in ended.stderr or "not allowed" in ended.stderr:
            raise PasswordError("this user may not use sudo: run it as one who may, or as root")
    raise PasswordError("sudo does not take this password: nothing was changed")


def _typed(whose: str) -> str:
    try:
        return getpass.getpass(f"Password of {whose}: ")
    except EOFError:
        raise PasswordError(
            f"the password of {whose} is asked for, and there is no terminal to type it on: run it in one"
        ) from None
