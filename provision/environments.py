"""A Stack as the variables of the roles, with the lock files and dlbox's own wheel that they name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from provision import locking, own_wheel
from provision.stack_model import Stack
from provision.variables import cudnn, driver, toolkit

SYSTEM_PYTHON = "/usr/bin/python3"
JUPYTER = ("jupyterlab>=4.4,<5", "ipykernel>=6.29,<8")


def role_variables(
    stack: Stack, folder: Path, wheel: own_wheel.OwnWheel, *, jupyter: bool = False
) -> dict[str, Any]:
    """What the roles are given for one box; lock files go into ``folder``. Raises LockError."""
    locks = {name: _lock(stack, name) for name in stack.environments}
    interpreter = python_of(stack)
    on_top = {"dlbox": own_wheel.needs(), **({"jupyter": JUPYTER} if jupyter else {})}
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in locks.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    for name, requirements in on_top.items():
        text = locking.lock(requirements, stack.python.version, over=locks[stack.backend])
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    found = {
        **driver(stack),
        **toolkit(stack),
        **cudnn(stack),
        **_python(stack, folder),
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


def python_of(stack: Stack) -> str:
    """The interpreter on the box that the environments are made with."""
    if stack.python.source == "distribution":
        return SYSTEM_PYTHON
    version = stack.python.version
    return f"/opt/dlbox/python/cpython-{version}-linux-x86_64-gnu/bin/python{version}"


def _python(stack: Stack, folder: Path) -> dict[str, Any]:
    """The variables of the role python. Empty where the distribution's own serves: the role is not run then."""
    plan = stack.python
    if plan.source == "distribution":
        return {}
    lock = folder / f"{plan.source}.txt"
    lock.write_text(locking.lock([f"{plan.source}=={plan.tool_version}"], plan.version), encoding="utf-8")
    return {
        "python_version": plan.version,
        "python_uv_lock": str(lock),
        "python_packages": list(plan.packages),
    }


def _lock(stack: Stack, name: str) -> str:
    return locking.lock(
        stack.requirements[name],
        stack.python.version,
        constraints=[line for line in stack.constraints if _about(line, stack.environments[name])],
        index=stack.indexes.get(name),
    )


def _about(constraint: str, packages: dict[str, str]) -> bool:
    """Whether a constraint is kept here: the limits of other environments' libraries say nothing of this one."""
    name = constraint.partition("==")[0].partition("<")[0].partition(">")[0]
    return name in packages
