"""``explain``: compares every declared cause with the evidence of a machine, and orders what is left."""

from __future__ import annotations

from bench.health.causes import card_causes as card
from bench.health.causes import environment_causes as environment
from bench.health.causes import holder_causes as holder
from bench.health.causes import module_causes as module
from bench.health.causes import remedies
from bench.health.causes.records import UNPROVEN, Explanation, Hypothesis, Remedy, Suspect
from bench.health.causes.situation import Situation
from inventory.machine.records import Machine, PciCard

HYPOTHESES: tuple[Hypothesis, ...] = (
    holder.PASSTHROUGH,
    holder.DISPLAY_ONLY,
    environment.LINUX_DRIVER_IN_WSL,
    environment.NOT_ON_PATH,
    environment.WINDOWS,
    environment.MISMATCH,
    environment.PERMISSION,
    environment.CONTAINER_LOST,
    environment.HOST_NOT_LOADED,
    card.CABLES,
    module.SECURE_BOOT,
    holder.NOUVEAU,
    card.LOST,
    card.BAR_SPACE,
    holder.BRANCH,
    holder.FLAVOUR,
    card.FIRMWARE,
    module.NO_DEVICES,
    module.NOT_INSTALLED,
    module.COMPILER,
    module.BUILD_FAILED,
    module.PREBUILT_MISSING,
    module.NOT_BUILT,
    module.SWITCHED_OFF,
    module.NOT_LOADED,
    environment.LIBRARY,
    environment.CRASHED,
    environment.HOST_CARD,
    card.CARD_FAULT,
    card.POWER_CYCLE,
    card.MODIFIED,
    card.REGRESSION,
    card.FIRMWARE_SETUP,
    card.IGNORED,
)
"""All causes. Of several proven ones, the first in this order is the one to repair first."""

IDS = tuple(dict.fromkeys(hypothesis.id for hypothesis in HYPOTHESES))

EVIDENCE = (
    "cards.bar_bytes",
    "driver.library_version",
    "driver.module_flavour",
    "driver.module_version",
    "gpus.handle",
    "gpus.pci_address",
    "host.secure_boot",
    "installation.build_errors",
    "installation.container",
    "installation.dkms",
    "installation.firmware_versions",
    "installation.inside_packages",
    "installation.kernel_compiler",
    "installation.kernel_packages",
    "installation.kernels",
    "installation.packages",
    "installation.runfile",
    "installation.settings",
    "installation.windows_library",
    "kernel_log",
)
"""Readings that show the cause of a fault. If NVML lists every card, a check can pass without them."""

_MOST_CANDIDATES = 4


def explain(machine: Machine) -> tuple[Explanation, ...]:
    """Why each card that NVML does not list cannot be used; empty if there is no fault.

    A fault without a card on the bus has one explanation with ``card`` None. If NVML was not asked, as in a report that
    has no answer of it, only proven causes count.
    """
    if not Situation(machine).nvml_read:
        found = (*(_of_card(machine, one) for one in machine.cards), *_off_the_bus(machine))
        return tuple(explanation for explanation in found if explanation.proven)
    if machine.nvml.ok:
        return tuple(_of_card(machine, one) for one in absent(machine)) or _off_the_bus(machine)
    if machine.cards:
        return tuple(_of_card(machine, one) for one in machine.cards)
    bus_unknown = machine.source is not None and "cards" in machine.source.missing
    # A computer without an NVIDIA card gives one of these two codes.
    if machine.nvml.code in (9, 12) and not bus_unknown:
        return _off_the_bus(machine)
    return (Explanation(card=None, causes=_ordered(Situation(machine))),)


def blocking(machine: Machine) -> tuple[Explanation, ...]:
    """The explanations of cards without which the machine cannot train as it should."""
    return tuple(explanation for explanation in explain(machine) if explanation.blocking)


def absent(machine: Machine) -> tuple[PciCard, ...]:
    """Cards on the bus that NVML does not list. At most as many cards as NVML's list is short of the bus."""
    missing = len(machine.cards) - len(machine.gpus)
    if missing <= 0:
        return ()
    listed = {gpu.pci_address.value for gpu in machine.gpus}
    return tuple(one for one in machine.cards if one.address not in listed)[-missing:]


def suspects(situation: Situation) -> tuple[Suspect, ...]:
    """All causes for which there is evidence and that nothing excludes: the proven ones first, then the likelier."""
    found: list[tuple[int, Suspect]] = []
    for hypothesis in HYPOTHESES:
        suspect = _compared(hypothesis, situation)
        if suspect is not None:
            found.append((len(suspect.evidence) - len(suspect.against), suspect))
    proven = [suspect for _, suspect in found if suspect.proven]
    others = [suspect for _, suspect in sorted(found, key=lambda entry: -entry[0]) if not suspect.proven]
    return (*proven, *others)


def _compared(hypothesis: Hypothesis, situation: Situation) -> Suspect | None:
    proofs = [text for test in hypothesis.proves if (text := test(situation))]
    hints = [text for test in hypothesis.supports if (text := test(situation))]
    if (not proofs and not hints) or any(test(situation) for test in hypothesis.excludes):
        return None
    return Suspect(
        id=hypothesis.id,
        title=hypothesis.title(situation),
        proven=bool(proofs),
        evidence=tuple(dict.fromkeys((*proofs, *hints))),
        against=tuple(text for test in hypothesis.weakens if (text := test(situation))),
        settle=hypothesis.settle(situation),
        remedy=remedies.fitting(situation, hypothesis.remedy(situation)),
    )


def _of_card(machine: Machine, one: PciCard) -> Explanation:
    situation = Situation(machine, one)
    causes = _ordered(situation)
    others = any(gpu.handle.ok for gpu in machine.gpus) or any(
        not _spare(Situation(machine, other)) for other in machine.cards if other is not one
    )
    spare = _spare(situation) or holder.driver_of_newer_card(situation) is not None
    return Explanation(card=one, causes=causes, blocking=not (others and spare))


def _spare(situation: Situation) -> bool:
    """Whether a card is not meant to train on this machine: for the display only, or reserved for a virtual machine."""
    return situation.display_only or holder.reserved(situation) is not None


def _ordered(situation: Situation) -> tuple[Suspect, ...]:
    """The proven causes, or the likeliest candidates; a general one if there is no evidence at all."""
    found = suspects(situation)
    if found and found[0].proven:
        return tuple(suspect for suspect in found if suspect.proven)
    return found[:_MOST_CANDIDATES] or (_without_evidence(situation),)


def _without_evidence(situation: Situation) -> Suspect:
    machine = situation.machine
    why = machine.nvml.why or "NVML does not list the card"
    code = f"NVML code {machine.nvml.code}: " if machine.nvml.code is not None else ""
    if situation.environment == "wsl2":
        remedy, settle = environment.windows_driver(situation), "in PowerShell: nvidia-smi"
    elif situation.environment == "container":
        remedy, settle = environment.CONTAINER_LOST.remedy(situation), "on the host: nvidia-smi"
    else:
        settle = "sudo dmesg | grep -iE 'nvrm|nvidia|xid' | head -40"
        remedy = Remedy(commands=(settle,), then="then reinstall the driver: dlbox provision")
        remedy = remedies.fitting(situation, remedy)
    return Suspect(id=UNPROVEN, title="no evidence names a cause", proven=False, evidence=(code + why,),
                   settle=settle, remedy=remedy)  # fmt: skip


def _off_the_bus(machine: Machine) -> tuple[Explanation, ...]:
    """A card that is on no list, although this machine has one: switched off by its configuration, or lost."""
    situation = Situation(machine)
    if machine.cards or machine.gpus:
        return ()
    known = ("driver.switched-off", "driver.lost", "driver.wsl", "driver.container-lost")
    causes = tuple(s for s in suspects(situation) if s.proven and s.id in known)
    return (Explanation(card=None, causes=causes),) if causes else ()
