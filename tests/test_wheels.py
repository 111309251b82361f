"""What must hold for every box, searched for with random ones; and that the pins exist in the registry."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from common.versions import in_python_range
from inventory.cards import cards
from provision.resolve.drivers import capability_of, is_supported
from provision.resolve.hardware.cards_in_use import countable
from provision.resolve.load import load
from provision.resolve.stack import NoStack, Request, Target, resolve
from provision.resolve.wheels import has_code, incompatible
from tests.conftest import ROOT

DATA = load()
CARDS = [
    Target(name=c.name, architecture=c.architecture, capability=c.compute_capability)
    for c in cards.catalogue()
]
UNLISTED = [Target(name=f"10de:{n}", architecture=row.name) for n, row in enumerate(DATA.architectures)]
KERNELS = [
    "",
    "5.15.0-160-generic",
    "7.0.0-44-generic",
    "6.1.0-40-amd64",
    "7.1.3-1-liquorix-amd64",
    "6.12.0-mine",
]

requests = st.builds(
    Request,
    distribution=st.sampled_from([row.id for row in DATA.distributions]),
    targets=st.lists(st.sampled_from(CARDS + UNLISTED), max_size=4).map(tuple),
    kernel=st.sampled_from(KERNELS),
    secure_boot=st.sampled_from([None, True, False]),
    frameworks=st.lists(st.sampled_from(["tensorflow", "torch", "jax"]), unique=True, max_size=3).map(tuple),
    cuda_toolkit=st.booleans(),
)


@given(requests)
def test_every_answer_is_a_whole_stack_or_a_sentence_with_the_nearest(request: Request) -> None:
    found = resolve(request, DATA, DATA.date)
    if isinstance(found, NoStack):
        assert found.error.startswith("no stack exists, because ")
        assert "\n" not in found.error
        assert found.nearest is not None, "the CPU builds run everywhere"
        assert found.nearest.frameworks
        return
    assert found.environments
    assert found.backend in found.environments
    assert set(found.environments) | set(found.missing) == set(
        request.frameworks or ("tensorflow", "torch", "jax")
    )
    assert not (request.frameworks and found.missing)
    assert (found.driver is None) is (not request.targets)


def counted(request: Request) -> tuple[Target, ...]:
    """The cards that the resolver plans for; the others have no driver anywhere."""
    found = countable(request, DATA)
    assert not any(is_supported(target, DATA) for target in found.unused)
    return found.targets


@given(requests)
def test_never_a_driver_outside_the_cards_branches_or_of_the_wrong_flavour(request: Request) -> None:
    found = resolve(request, DATA, DATA.date)
    if isinstance(found, NoStack) or found.driver is None:
        return
    branch = DATA.branch(found.driver.branch)
    assert branch is not None
    assert found.driver.flavour in branch.flavours
    for target in counted(request):
        row = DATA.architecture(target.architecture or "")
        assert row is not None
        assert row.first_branch <= found.driver.branch <= (row.last_branch or 10_000)
        assert found.driver.flavour in row.flavours


@given(requests)
def test_never_a_wheel_without_code_for_a_card_or_too_new_for_the_driver(request: Request) -> None:
    found = resolve(request, DATA, DATA.date)
    if isinstance(found, NoStack) or found.driver is None:
        return
    for name, packages in found.environments.items():
        rows = [
            r
            for r in DATA.frameworks
            if r.framework == name and r.pinned == packages[name] and r.device == "gpu"
        ]
        libraries = [row for row in DATA.libraries if packages.get(row.package) == row.version]
        assert len(rows) == len(libraries) == 1
        assert rows[0].min_driver is not None
        assert rows[0].min_driver <= found.driver.branch
        assert in_python_range(found.python.version, rows[0].python)
        for target in counted(request):
            capability = capability_of(target, DATA)
            assert has_code(rows[0].code, capability)
            assert has_code(libraries[0].code, capability)


def fits(packages: dict[str, str], constraint: str) -> bool:
    """Whether the pinned packages meet a constraint, by pip's own rules."""
    wanted = Requirement(constraint)
    return wanted.name not in packages or wanted.specifier.contains(packages[wanted.name])


@given(requests)
def test_never_pins_that_break_the_constraints_or_each_other(request: Request) -> None:
    found = resolve(request, DATA, DATA.date)
    if isinstance(found, NoStack):
        return
    for name, packages in found.environments.items():
        assert all(fits(packages, text) for text in found.constraints)
        row = next(
            r
            for r in DATA.frameworks
            if r.framework == name and packages.get(r.requirement.partition("[")[0]) == r.pinned
        )
        assert all(fits(packages, f"{package}{bounds}") for package, bounds in row.requires.items())
        assert [text.partition("==")[2] for text in found.requirements[name]] == list(packages.values())


@pytest.mark.parametrize(
    ("code", "capability", "runs"),
    [
        (("8.0",), "8.6", True),
        (("8.0",), "8.9", True),
        (("7.0",), "7.5", True),
        (("7.5",), "7.0", False),
        (("6.0",), "6.1", True),
        (("6.1",), "6.0", False),
        (("8.9", "9.0"), "12.0", False),
        (("10.0",), "12.0", False),
        (("5.0",), "5.2", True),
        ((), "8.6", False),
    ],
)
def test_code_runs_on_its_own_major_capability_from_its_minor_up(
    code: tuple[str, ...], capability: str, runs: bool
) -> None:
    assert has_code(code, capability) is runs


def test_clashes_between_frameworks_follow_from_their_metadata() -> None:
    rows = {(r.framework, r.version): r for r in DATA.frameworks if r.device == "gpu"}
    tensorflow, jax = rows["tensorflow", "2.21.0"], rows["jax", "0.12.0.1"]
    assert incompatible(tensorflow, rows["torch", "2.7.1"])
    assert incompatible(tensorflow, rows["torch", "2.10.0"])
    assert not incompatible(tensorflow, jax)


class Environment(NamedTuple):
    python: str
    requirements: tuple[str, ...]
    constraints: tuple[str, ...]
    """Those that touch it: the other frameworks' own are left out."""


def _distinct_environments() -> dict[Environment, str]:
    """Every environment that any card of the catalogue gets anywhere -> the first box that has it."""
    found: dict[Environment, str] = {}
    of_each = list({target.architecture: target for target in CARDS}.values())
    boxes = [(), *((target,) for target in CARDS), *itertools.combinations(of_each, 2)]
    for row, further in itertools.product(DATA.distributions, (True, False)):
        for targets in boxes:
            request = Request(distribution=row.id, targets=targets, further_indexes=further)
            stack = resolve(request, DATA, DATA.date)
            if isinstance(stack, NoStack):
                assert len(targets) == 2, "each card alone has a stack"
                continue
            for name, wanted in stack.requirements.items():
                if name in stack.indexes:
                    continue  # only PyPI is available to the tests
                others = [text for text in stack.constraints if "==" in text]
                touching = (*(text for text in stack.constraints if text not in others), wanted[0])
                key = Environment(stack.python.version, wanted, touching)
                found.setdefault(key, f"{' and '.join(t.name for t in targets) or 'CPU'} on {row.name}")
    return found


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_pins_resolve_with_the_registrys_metadata(tmp_path: Path) -> None:
    """Together with dlbox's own needs, which go into each environment. uv reads metadata and installs nothing."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        pytest.skip("uv is not installed: it is among the needs of the tests, so `./dlbox setup` was not run")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    environments = _distinct_environments()
    assert {environment.python for environment in environments} == {"3.11", "3.12", "3.13"}
    for number, (environment, box) in enumerate(environments.items()):
        wanted, limits = tmp_path / f"{number}.in", tmp_path / f"{number}.limits"
        wanted.write_text("\n".join([*environment.requirements, *project["dependencies"]]), encoding="utf-8")
        limits.write_text("\n".join(environment.constraints), encoding="utf-8")
        command = [
            *(uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--only-binary", ":all:"),
            *("--python-version", environment.python, "--python-platform", "x86_64-manylinux_2_28"),
            *("--constraints", str(limits), str(wanted)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{box}: {environment}: {done.stderr}"
        resolved = dict(line.split("==", 1) for line in done.stdout.split() if "==" in line)
        for text in environment.requirements:
            name, _, version = text.partition("==")
            assert resolved[name.partition("[")[0]] == version, box
        if any("cudnn" in text for text in environment.constraints):
            assert not any(name.endswith("-cu13") for name in resolved), (
                f"{box}: CUDA 13 has nothing before Turing"
            )
