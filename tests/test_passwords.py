"""Passwords that are asked for before a run, with a fake sudo that accepts one password or needs none."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.ansible import passwords
from provision.ansible.passwords import PasswordError

SUDO = """#!/bin/sh
echo "$*" >> {log}
case " $* " in *" -n "*) exit {free} ;; esac
read -r password
[ "$password" = right ] && exit 0
echo "{complaint}" >&2
exit 1
"""

Make = Callable[..., Path]


@pytest.fixture
def sudo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    """Makes a fake sudo; returns the file in which it logs its arguments."""

    def make(*typed: str, free: bool = False, complaint: str = "Sorry, try again.") -> Path:
        log, program = tmp_path / "log", tmp_path / "sudo"
        program.write_text(SUDO.format(log=log, free=0 if free else 1, complaint=complaint))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin:/bin")
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
        answers = list(typed)

        def answer(prompt: str) -> str:
            if not answers:
                raise EOFError
            return answers.pop(0)

        monkeypatch.setattr(getpass, "getpass", answer)
        return log

    return make


def test_no_password_is_asked_for_if_sudo_needs_none(sudo: Make) -> None:
    sudo(free=True)
    assert passwords.ask(become=False, vault=False, here=True).become is None


def test_a_password_is_tested_before_the_run_and_is_no_argument(sudo: Make) -> None:
    log = sudo("wrong", "right")
    found = passwords.ask(become=False, vault=False, here=True)
    assert found.become == "right"
    assert "right" not in log.read_text()
    assert "right" not in repr(found)


@pytest.mark.parametrize(
    ("typed", "complaint", "words"),
    [
        (("a", "b", "c", "right"), "Sorry, try again.", "rejected the password 3 times"),
        (("right1",), "box is not in the sudoers file.", "may not use sudo"),
        ((), "", "stdin is not a terminal"),
    ],
)
def test_errors_are_one_sentence(sudo: Make, typed: tuple[str, ...], complaint: str, words: str) -> None:
    sudo(*typed, complaint=complaint)
    with pytest.raises(PasswordError, match=words) as refused:
        passwords.ask(become=False, vault=False, here=True)
    assert "\n" not in str(refused.value)


def test_without_sudo_only_root_may_install(monkeypatch: pytest.MonkeyPatch, sudo: Make) -> None:
    sudo()
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PasswordError, match="run it as root"):
        passwords.ask(become=False, vault=False, here=True)


def test_for_other_boxes_only_requested_passwords_are_asked_for(sudo: Make) -> None:
    log = sudo("one", "two")
    found = passwords.ask(become=True, vault=True, here=False)
    assert (found.become, found.vault) == ("one", "two")
    assert not log.exists()
