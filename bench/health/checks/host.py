"""Theme "host": the computer itself. Most of these checks run on machines without a card too."""

from __future__ import annotations

from bench.health.check import CheckOutcome, check, failed, passed, skipped, value, warned
from inventory.machine.records import Machine

_GIB = 1 << 30
_LEAST_MEMORY = 3.5
_FULL, _TIGHT = 1.0, 5.0


@check(
    "host.memory",
    title="Main memory",
    scope="machine",
    needs_gpu=False,
    looks_at="the size of the main memory",
    limits=f"the check warns below {_LEAST_MEMORY:g} GiB",
    source="TensorFlow with a workshop model uses 1 to 2 GiB",
    fix="add memory, or close other programs while training",
    unread="warn",
)
def memory(machine: Machine) -> CheckOutcome:
    """Frameworks need one to two GiB before they load any data."""
    gib = machine.host.memory_bytes / _GIB
    if not 0 < gib < 1 << 20:
        return warned(
            "the size of the memory could not be read",
            remedy="read it with: free -h; then repeat: dlbox check --only host",
        )
    if gib < _LEAST_MEMORY:
        return warned(f"{gib:.1f} GiB", round(gib, 1), 8, "GiB")
    free = machine.host.memory_available_bytes / _GIB
    available = f", {free:.1f} free" if 0 < free <= gib else ""
    return passed(f"{gib:.1f} GiB{available}", round(gib, 1), None, "GiB")


@check(
    "host.swap",
    title="Swap",
    scope="machine",
    needs_gpu=False,
    looks_at="swap space",
    limits="none",
    source="shown for information",
    fix="add a swap file if the kernel kills programs for lack of memory",
)
def swap(machine: Machine) -> CheckOutcome:
    """Without swap the kernel kills a program as soon as the main memory is full."""
    if machine.host.swap_bytes is None:
        return skipped("the size of the swap space was not read")
    gib = machine.host.swap_bytes / _GIB
    return passed(f"{gib:.1f} GiB" if gib else "none", round(gib, 1), None, "GiB")


@check(
    "host.disk",
    title="Disk space",
    scope="machine",
    needs_gpu=False,
    looks_at="free space in the folder of data and results, and the kind of disk",
    limits=f"the check warns below {_TIGHT:g} GiB and fails below {_FULL:g} GiB",
    source="TensorFlow with its CUDA wheels needs 5 to 6 GB",
    fix="free some space; the largest folders: du -xh --max-depth=2 ~ | sort -h | tail",
    needs={"host.disk": "disk"},
)
def disk(machine: Machine) -> CheckOutcome:
    """Results cannot be saved on a full disk. A hard disk is slow with data sets of many small files."""
    found = value(machine.host.disk, "disk")
    gib = found.free_bytes / _GIB
    kind = {"nvme": "NVMe", "ssd": "SSD", "hdd": "hard disk, slow with many small files"}.get(found.kind)
    message = f"{gib:.0f} GiB free" + (f", {kind}" if kind else "")
    if gib < _FULL:
        return failed(message, round(gib, 1), _TIGHT, "GiB")
    if gib < _TIGHT:
        return warned(message, round(gib, 1), _TIGHT, "GiB")
    return passed(message, round(gib, 1), _TIGHT, "GiB")


@check(
    "host.cpu-governor",
    title="CPU frequency governor",
    scope="machine",
    needs_gpu=False,
    looks_at="the kernel's frequency governor",
    limits="the check warns on powersave with acpi-cpufreq, which fixes the CPU at its lowest clock",
    applies_to="machines with a governor; virtual machines have none",
    source="kernel documentation of cpufreq: with intel_pstate and amd-pstate, powersave adapts the clock to the load",
    fix="sudo cpupower frequency-set -g schedutil",
    needs={"host.cpu_governor": "governor"},
    optional=("host.cpu_frequency_driver",),
    unread="warn",
)
def governor(machine: Machine) -> CheckOutcome:
    """The governor decides how fast the CPU's clock follows its load. One core has to run at full speed to
    supply the card with data."""
    setting = value(machine.host.cpu_governor, "governor")
    driver = machine.host.cpu_frequency_driver.value or ""
    if setting == "powersave":
        driver = value(machine.host.cpu_frequency_driver, "the governor is powersave; the frequency driver")
    if setting == "powersave" and driver.startswith(("acpi-cpufreq", "pcc-cpufreq")):
        return warned(f"{setting} with {driver} keeps the CPU at its lowest clock", setting, "schedutil")
    return passed(setting + (f" ({driver})" if driver else ""), setting)


@check(
    "host.load",
    title="Other load",
    scope="machine",
    needs_gpu=False,
    looks_at="the load average of the last minute",
    limits="none: measurements record the load of each block",
    source="/proc/loadavg",
    fix="list the running programs: top",
    needs={"host.load_average": "load"},
    unread="warn",
)
def load(machine: Machine) -> CheckOutcome:
    """Other programs take CPU time from the program that supplies the card with data."""
    now = value(machine.host.load_average, "load")
    return passed(f"{now:.1f} on {machine.host.cpu_threads} threads", now)


@check(
    "host.iommu",
    title="IOMMU",
    scope="machine",
    looks_at="whether the kernel uses IOMMU groups",
    limits="none",
    source="sysfs",
    fix="if several cards copy data to each other, turn the IOMMU off in the firmware",
    needs={"host.iommu": "IOMMU"},
    unread="warn",
)
def iommu(machine: Machine) -> CheckOutcome:
    """The IOMMU isolates devices from each other. It can slow down copies between cards; one card is not affected."""
    on = value(machine.host.iommu, "IOMMU")
    return passed("in use" if on else "not in use", on)


@check(
    "host.variables",
    title="Environment variables",
    scope="machine",
    looks_at="variables that hide cards or slow CUDA down",
    limits="no variable hides every card, makes launches synchronous or turns caches off",
    source="CUDA programming guide, environment variables; NVIDIA DCGM's software checks",
    fix="unset the variable, and remove it from ~/.bashrc and ~/.profile",
)
def variables(machine: Machine) -> CheckOutcome:
    """Such a variable is often left over from debugging. It makes training slow or hides the cards from programs."""
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
    note = f"CUDA_VISIBLE_DEVICES={visible}" if visible is not None else "none of these variables is set"
    return passed(note)


@check(
    "host.library-path",
    title="LD_LIBRARY_PATH",
    scope="machine",
    looks_at="folders of LD_LIBRARY_PATH that contain CUDA libraries",
    limits="none",
    source="reports of TensorFlow and torch wheels that load a system's CUDA or cuDNN instead of their own",
    fix="unset LD_LIBRARY_PATH, and remove it from ~/.bashrc: the wheels bring their own libraries",
)
def library_path(machine: Machine) -> CheckOutcome:
    """The wheels of the frameworks contain the CUDA and cuDNN versions that they were built with. The loader
    searches LD_LIBRARY_PATH first; another version there does not load or crashes."""
    clashes = machine.host.library_path_clashes
    if clashes:
        return warned(
            f"CUDA libraries in {', '.join(clashes[:3])} are loaded instead of those of the wheels",
            len(clashes),
            0,
        )
    return passed("contains no CUDA libraries" if "LD_LIBRARY_PATH" in machine.host.variables else "not set")


@check(
    "host.environment",
    title="Kind of machine",
    scope="machine",
    needs_gpu=False,
    looks_at="signs of a container, a virtual machine or WSL2",
    limits="none",
    source="/proc/version, /.dockerenv, control groups, processor flags",
    fix="nothing to do",
)
def environment(machine: Machine) -> CheckOutcome:
    """The kind of machine decides which checks apply: the host's driver installation is not visible in a
    container, and WSL2 has no list of programs on the card."""
    kind = {
        "bare-metal": "bare metal",
        "virtual-machine": "virtual machine",
        "container": "container",
        "wsl2": "WSL2",
    }[machine.host.environment]
    return passed(f"{kind}, {machine.host.distribution.name}, kernel {machine.host.kernel}", kind)
