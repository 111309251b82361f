"""Turn a Stack into role variables, and make the lock files that those variables name."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from provision.ansible.variables import cudnn, driver, toolkit
from provision.artifacts import lockfiles, own_wheel
from provision.hosts.network import PLAIN, Network
from provision.resolve.model import Stack

SYSTEM_PYTHON = "/usr/bin/python3"
INSTALLER = "uv"
"""The tool that installs the packages on a box. If the package index does not have uv, pip is used."""
INSTALLER_BOUNDS = ">=0.9,<1"
JUPYTER = ("jupyterlab>=4.4,<5", "ipykernel>=6.29,<8")


def role_variables(
    stack: Stack,
    folder: Path,
    wheel: own_wheel.OwnWheel,
    *,
    jupyter: bool = False,
    network: Network = PLAIN,
    locks: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The variables of the roles for one box. Its lock files are written to ``folder``.

    ``locks``: environment -> text, if the lock files exist already (see ``make_locks``). Raises LockError, OSError.
    """
    interpreter = python_path(stack)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (
        make_locks(stack, jupyter=jupyter, network=network) if locks is None else locks
    ).items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    found = {
        **driver(stack),
        **toolkit(stack),
        **cudnn(stack),
        **_python(stack, folder),
        "environment_uv_lock": str(folder / f"{INSTALLER}.txt")
        if (folder / f"{INSTALLER}.txt").is_file()
        else "",
        "frameworks_environments": [
            {"name": name, "lock": str(folder / f"{name}.txt")} for name in stack.environments
        ],
        "frameworks_python": interpreter,
        "frameworks_python_packages": list(stack.python.packages),
        "dlbox_app_lock": str(folder / "dlbox.txt"),
        "dlbox_app_wheel": {"path": str(wheel.path), "sha256": wheel.sha256},
        "dlbox_app_over": stack.backend,
        "dlbox_app_python": interpreter,
        "dlbox_app_python_packages": list(stack.python.packages),
    }
    if jupyter:
        found |= {
            "jupyter_lock": str(folder / "jupyter.txt"),
            "jupyter_over": stack.backend,
            "jupyter_python": interpreter,
        }
    return found


def make_locks(stack: Stack, *, jupyter: bool, network: Network = PLAIN) -> dict[str, str]:
    """Make the lock files for the frameworks, dlbox, JupyterLab and uv: environment -> text. Raises LockError."""
    python = stack.python
    found = {name: _lock(stack, name, network) for name in stack.environments}
    on_top = {"dlbox": own_wheel.requirements(), **({"jupyter": JUPYTER} if jupyter else {})}
    for name, requirements in on_top.items():
        found[name] = lockfiles.lock(requirements, python.version, over=found[stack.backend], network=network)
    if python.source != "distribution":
        wanted = [f"{python.source}=={python.tool_version}"]
        found[python.source] = lockfiles.lock(wanted, python.version, network=network)
    if INSTALLER not in found:
        with contextlib.suppress(lockfiles.LockError):  # a company's own index may not have it
            found[INSTALLER] = lockfiles.lock([INSTALLER + INSTALLER_BOUNDS], python.version, network=network)
    return found


def python_path(stack: Stack) -> str:
    """Path on the box of the Python interpreter that creates the environments."""
    if stack.python.source == "distribution":
        return SYSTEM_PYTHON
    version = stack.python.version
    return f"/opt/dlbox/python/cpython-{version}-linux-x86_64-gnu/bin/python{version}"


def _python(stack: Stack, folder: Path) -> dict[str, Any]:
    """The variables of the role python. Empty if the distribution's Python is used; the role then does not run."""
    plan = stack.python
    if plan.source == "distribution":
        return {}
    return {
        "python_version": plan.version,
        "python_uv_lock": str(folder / f"{plan.source}.txt"),
        "python_packages": list(plan.packages),
    }


def _lock(stack: Stack, name: str, network: Network) -> str:
    return lockfiles.lock(
        stack.requirements[name],
        stack.python.version,
        constraints=[line for line in stack.constraints if _applies(line, stack.environments[name])],
        index=stack.indexes.get(name),
        network=network,
    )


def _applies(constraint: str, packages: dict[str, str]) -> bool:
    """Whether a constraint concerns a package of this environment."""
    name = canonicalize_name(Requirement(constraint).name)
    return name in {canonicalize_name(package) for package in packages}
