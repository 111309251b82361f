"""Theme "host": the computer around the card. These run on machines without a card too."""

from __future__ import annotations

from bench.health.check import Outcome, check, failed, passed, value, warned
from inventory.machine.records import Machine

_GIB = 1 << 30
_LEAST_MEMORY = 3.5
_FULL, _TIGHT = 1.0, 5.0


@check(
    "host.memory",
    title="Main memory",
    scope="machine",
    needs_gpu=False,
    looks_at="the computer's memory",
    limits=f"below {_LEAST_MEMORY:g} GiB warns",
    source="TensorFlow and a workshop model take 1 to 2 GiB",
    fix="add memory, or close other programs while training",
    unread="warn",
)
def memory(machine: Machine) -> Outcome:
    """Frameworks need one to two GiB before they load any data."""
    gib = machine.host.memory_bytes / _GIB
    if not 0 < gib < 1 << 20:
        return warned(
            "the size of the memory could not be read",
            remedy="read it by hand: free -h; then: dlbox check --only host",
        )
    if gib < _LEAST_MEMORY:
        return warned(f"{gib:.1f} GiB", round(gib, 1), 8, "GiB")
    free = machine.host.memory_available_bytes / _GIB
    told = f", {free:.1f} free" if 0 < free <= gib else ""
    return passed(f"{gib:.1f} GiB{told}", round(gib, 1), None, "GiB")


@check(
    "host.swap",
    title="Swap",
    scope="machine",
    needs_gpu=False,
    looks_at="swap space",
    limits="none",
    source="shown for the record",
    fix="add a swap file if programs are ended for lack of memory",
)
def swap(machine: Machine) -> Outcome:
    """Without swap, a program that needs more memory than there is gets ended at once."""
    gib = machine.host.swap_bytes / _GIB
    return passed(f"{gib:.1f} GiB" if gib else "none", round(gib, 1), None, "GiB")


@check(
    "host.disk",
    title="Disk space",
    scope="machine",
    needs_gpu=False,
    looks_at="free space where data and results go, and the kind of disk",
    limits=f"below {_TIGHT:g} GiB warns, below {_FULL:g} GiB fails",
    source="TensorFlow with its CUDA wheels takes 5 to 6 GB",
    fix="free some space: du -xh --max-depth=2 ~ | sort -h | tail",
    needs={"host.disk": "disk"},
)
def disk(machine: Machine) -> Outcome:
    """A full disk loses results. A rotating disk is slow with data sets of many small files."""
    found = value(machine.host.disk, "disk")
    gib = found.free_bytes / _GIB
    kind = {"nvme": "NVMe", "ssd": "SSD", "hdd": "rotating disk, slow with many small files"}.get(found.kind)
    words = f"{gib:.0f} GiB free" + (f", {kind}" if kind else "")
    if gib < _FULL:
        return failed(words, round(gib, 1), _TIGHT, "GiB")
    if gib < _TIGHT:
        return warned(words, round(gib, 1), _TIGHT, "GiB")
    return passed(words, round(gib, 1), _TIGHT, "GiB")


@check(
    "host.cpu-governor",
    title="Processor speed setting",
    scope="machine",
    needs_gpu=False,
    looks_at="the kernel's frequency governor",
    limits="powersave with acpi-cpufreq warns: it pins the lowest clock",
    applies_to="machines that show a governor; virtual ones do not",
    source="kernel documentation of cpufreq: with intel_pstate and amd-pstate, powersave adapts",
    fix="sudo cpupower frequency-set -g schedutil",
    needs={"host.cpu_governor": "governor"},
    optional=("host.cpu_frequency_driver",),
    unread="warn",
)
def governor(machine: Machine) -> Outcome:
    """The governor decides how fast the processor's clock follows its load. Feeding a card needs a core at
    full speed."""
    setting = value(machine.host.cpu_governor, "governor")
    driver = machine.host.cpu_frequency_driver.value or ""
    if setting == "powersave":
        driver = value(
            machine.host.cpu_frequency_driver, "the governor is powersave, and the frequency driver"
        )
    if setting == "powersave" and driver.startswith(("acpi-cpufreq", "pcc-cpufreq")):
        return warned(
            f"{setting} with {driver} keeps the processor at its lowest clock", setting, "schedutil"
        )
    return passed(setting + (f" ({driver})" if driver else ""), setting)


@check(
    "host.load",
    title="Other load",
    scope="machine",
    needs_gpu=False,
    looks_at="the load average of the last minute",
    limits="none: measurements record it beside each block",
    source="/proc/loadavg",
    fix="see what runs: top",
    needs={"host.load_average": "load"},
    unread="warn",
)
def load(machine: Machine) -> Outcome:
    """Other programs take time from the one that feeds the card."""
    now = value(machine.host.load_average, "load")
    return passed(f"{now:.1f} on {machine.host.cpu_threads} threads", now)


@check(
    "host.iommu",
    title="IOMMU",
    scope="machine",
    looks_at="whether the kernel uses IOMMU groups",
    limits="none",
    source="sysfs",
    fix="with several cards that copy to each other, turn it off in the firmware",
    needs={"host.iommu": "IOMMU"},
    unread="warn",
)
def iommu(machine: Machine) -> Outcome:
    """Separates devices from each other. One card does not mind; copies between cards can be slower."""
    on = value(machine.host.iommu, "IOMMU")
    return passed("in use" if on else "not in use", on)


@check(
    "host.variables",
    title="Environment variables",
    scope="machine",
    looks_at="variables that hide cards or slow CUDA down",
    limits="none that hides every card, blocks launches or turns caches off",
    source="CUDA programming guide, environment variables; NVIDIA DCGM's software checks",
    fix="unset the variable named here, and look for it in ~/.bashrc and ~/.profile",
)
def variables(machine: Machine) -> Outcome:
    """Left over from debugging, such a variable makes training slow or lets programs see no card."""
    found = machine.host.variables
    visible = found.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and (
        not visible.strip() or visible.strip().startswith("-") or visible == "NoDevFiles"
    ):
        return warned(
            f"CUDA_VISIBLE_DEVICES={visible!r} hides every card from programs",
            visible,
            None,
            remedy="unset CUDA_VISIBLE_DEVICES",
        )
    bad = {
        "CUDA_LAUNCH_BLOCKING": "1",
        "CUDA_CACHE_DISABLE": "1",
        "CUDA_FORCE_PTX_JIT": "1",
        "CUDA_DISABLE_PTX_JIT": "1",
        "NVIDIA_TF32_OVERRIDE": "0",
    }
    named = [f"{name}={found[name]}" for name, value_ in bad.items() if found.get(name) == value_]
    named += [name for name in ("CUDA_INJECTION64_PATH",) if name in found]
    if named:
        return warned(
            f"{', '.join(named)} slows programs down",
            ", ".join(named),
            None,
            remedy="unset " + " ".join(entry.partition("=")[0] for entry in named),
        )
    note = f"CUDA_VISIBLE_DEVICES={visible}" if visible is not None else "none that matters"
    return passed(note)


@check(
    "host.library-path",
    title="LD_LIBRARY_PATH",
    scope="machine",
    looks_at="folders of LD_LIBRARY_PATH that hold CUDA libraries",
    limits="none",
    source="reports of TensorFlow and torch wheels that load a system's CUDA or cuDNN instead of their own",
    fix="unset LD_LIBRARY_PATH, and remove it from ~/.bashrc: the wheels bring their own libraries",
)
def library_path(machine: Machine) -> Outcome:
    """Frameworks' wheels carry the CUDA and cuDNN they were built with. LD_LIBRARY_PATH is searched first, and
    another version found there fails to load or crashes."""
    clashes = machine.host.library_path_clashes
    if clashes:
        return warned(
            f"CUDA libraries in {', '.join(clashes[:3])} come before those of the wheels", len(clashes), 0
        )
    return passed("no CUDA libraries in it" if "LD_LIBRARY_PATH" in machine.host.variables else "not set")


@check(
    "host.environment",
    title="Kind of machine",
    scope="machine",
    needs_gpu=False,
    looks_at="marks of containers, virtual machines and WSL2",
    limits="none",
    source="/proc/version, /.dockerenv, control groups, processor flags",
    fix="nothing to do",
)
def environment(machine: Machine) -> Outcome:
    """Decides which checks apply: a container does not see the host's driver installation, WSL2 has no list
    of programs."""
    words = {
        "bare-metal": "bare metal",
        "virtual-machine": "virtual machine",
        "container": "container",
        "wsl2": "WSL2",
    }[machine.host.environment]
    return passed(f"{words}, {machine.host.distribution.name}, kernel {machine.host.kernel}", words)
