"""`dlbox collect`: what the archive contains, what it never contains, and that it is judged like the computer."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import reports
import scenario

from bench import health
from bench.finding import Finding, Status
from bench.health.source_needs import NOT_IN_SOURCE
from inventory.machine.records import Machine
from inventory.sources import read

SCRIPT = Path(read.__file__).with_name("collect.sh")
SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]


def collect(
    folder: Path, sysroot: Path, programs: Path, *, shell: str = "sh", env: dict[str, str] | None = None
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    archive = folder / "box.tar.gz"
    command = [shell, *(["sh"] if shell == "busybox" else []), str(SCRIPT), "-o", str(archive), "--yes"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=folder,
        env={
            "PATH": f"{programs}:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(folder),
            "DLBOX_COLLECT_ROOT": str(sysroot),
            **(env or {}),
        },
    )
    return archive, done


def collected(name: str, folder: Path) -> tuple[Machine, Machine]:
    """A scenario as it is on the computer, and as the archive that `dlbox collect` makes of it says."""
    one = scenario.load(name)
    live = one.machine(folder)
    reports.program(folder / "bin", "nvidia-smi", reports.smi_xml(live), 0 if live.nvml.ok else 9)
    reports.program(folder / "bin", "dmesg", "")
    reports.program(folder / "bin", "apt-cache", "")
    archive, done = collect(folder, folder / "root", folder / "bin")
    assert done.returncode == 0, done.stderr
    return live, read.machine(archive)


def of(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.id: finding for finding in findings}


SAME = [
    "rtx3060_idle",
    "nouveau_bound",
    "module_not_built",
    "library_mismatch",
    "secure_boot_refuses",
    "gtx1060_idle",
    "second_card_missing",
    "hot_and_throttling",
    "passthrough",
    "xid_79",
    "no_driver",
    "cpu_only",
    "held_on_debian",
    "ecc_and_remap_failed",
    "power_limit_low",
    "compute_prohibited",
    "link_x4",
    "next_boot_without_driver",
    "kernel_log_file",
    "margin_used_up",
    "mig",
]


@pytest.mark.parametrize("name", SAME)
def test_an_archive_gives_the_findings_of_the_computer(name: str, tmp_path: Path) -> None:
    live, source = collected(name, tmp_path)
    there, here = of(health.run(live)), of(health.run(source))
    for id_, finding in there.items():
        found = here[id_]
        if found.status is Status.SKIP and found.message.startswith(NOT_IN_SOURCE):
            assert finding.status in (Status.PASS, Status.SKIP), finding
        elif not id_.startswith("host."):
            assert found.status is finding.status, (finding, found)
    assert {i for i, f in here.items() if f.status is Status.FAIL} == {
        i for i, f in there.items() if f.status is Status.FAIL
    }


CANARIES = {
    "host": "weisswurst-tower",
    "domain": "corp.canary.example",
    "user": "hildegard",
    "serial": "1423918076655",
    "uuid": "a1b2c3d4-1111-2222-3333-abcdefabcdef",
    "mac": "3c:7c:3f:aa:bb:cc",
    "ip4": "192.168.178.77",
    "ip6": "fe80::3e7c:3fff:feaa:bbcc",
    "token": "ghp_abcdEFGH1234ijklMNOP5678qrstUVWX9012",
    "long": "Zx81Qw72Er63Ty54Ui45Op36As27Df18",
    "password": "correcthorse",
    "key": "AAAAC3NzaC1lZDI1NTE5AAAAIOcanary",
}
"""One value of each kind that must never be in an archive."""
LINES = "\n".join(
    (
        "node {host} {host}.{domain} {user} /home/{user}/venv Serial Number: {serial}",
        "GPU-{uuid} mac {mac} inet {ip4}/24 inet6 {ip6} token={token} {long}",
        "http://{user}:{password}@proxy.{domain}:3128 ssh-ed25519 {key} {user}@{host}",
    )
).format(**CANARIES)


def contents(archive: Path) -> tuple[str, list[tarfile.TarInfo]]:
    with tarfile.open(archive) as opened:
        members = opened.getmembers()
        parts = [opened.extractfile(member) for member in members]
        return "\n".join(p.read().decode("utf-8", "replace") for p in parts if p is not None), members


@pytest.mark.parametrize("shell", SHELLS)
def test_no_canary_reaches_the_archive(shell: str, tmp_path: Path) -> None:
    sysroot, programs = tmp_path / "root", tmp_path / "bin"
    live = scenario.load("rtx3060_idle").machine(tmp_path / "live")
    shutil.copytree(tmp_path / "live/root", sysroot, symlinks=True)
    texts = {
        "proc/version": f"Linux version 6.8.0-60-generic (buildd@{CANARIES['host']}) (gcc 13.2.0) {LINES}\n",
        "proc/cmdline": "BOOT_IMAGE=/vmlinuz root=UUID={uuid} ip={ip4} nvidia-drm.modeset=1 token={token} {host} k={long}".format(  # noqa: E501
            **CANARIES
        ),
        "proc/sys/kernel/hostname": CANARIES["host"],
        "etc/hostname": f"{CANARIES['host']}.{CANARIES['domain']}",
        "etc/passwd": f"{CANARIES['user']}:x:1000:1000:Hildegard Canary,,,:/home/{CANARIES['user']}:/bin/sh\n",
        "etc/machine-id": CANARIES["uuid"].replace("-", ""),
        "etc/modprobe.d/own.conf": f"blacklist nouveau\noptions nvidia NVreg_X={CANARIES['token']}\n# {LINES}\n",
        "etc/apt/apt.conf.d/90proxy": f'APT::Periodic::Unattended-Upgrade "1";\nAcquire::http::Proxy "{LINES}";\n',
        "etc/os-release": f'ID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04 {CANARIES["host"]}"\nHOME_URL="{LINES}"\n',  # noqa: E501
        "dev/kmsg": "".join(f"6,{n},{n},-;NVRM: {line}\n" for n, line in enumerate(LINES.splitlines()))
        + f"6,9,9,-;Command line: quiet token={CANARIES['token']} user={CANARIES['user']}\n",
        "var/lib/dpkg/status": f"Package: nvidia-driver-580\nStatus: install ok installed\nVersion: 580.95.05-0\nMaintainer: {LINES}\n\n",  # noqa: E501
        "var/lib/dkms/nvidia/580.95.05/build/make.log": f"DKMS make.log for kernel 6.8.0-60-generic\n{LINES}\nerror: {LINES}\n",  # noqa: E501
    }
    for path, text in texts.items():
        (sysroot / path).parent.mkdir(parents=True, exist_ok=True)
        (sysroot / path).write_text(text)
    xml = reports.smi_xml(live).replace("1234567890123", CANARIES["serial"])
    xml = xml.replace("<gpu id", f"<hostname>{CANARIES['host']}</hostname>\n<gpu id")
    reports.program(programs, "nvidia-smi", f"{xml}\n<!-- {LINES} -->\n{LINES}\n")
    reports.program(programs, "dmesg", LINES)
    reports.program(
        programs,
        "apt-cache",
        f"nvidia-driver:\n  Candidate: 580\n     500 http://{CANARIES['domain']}/u x\n{LINES}\n",
    )
    reports.program(programs, "uname", CANARIES["host"])
    reports.program(programs, "hostname", f"{CANARIES['host']}.{CANARIES['domain']}")
    reports.program(programs, "id", CANARIES["user"])
    archive, done = collect(
        tmp_path,
        sysroot,
        programs,
        shell=shell,
        env={
            "USER": CANARIES["user"],
            "LD_LIBRARY_PATH": f"/home/{CANARIES['user']}/lib",
            "XLA_FLAGS": f"--x={CANARIES['token']}",
            "https_proxy": f"http://{CANARIES['user']}:{CANARIES['password']}@{CANARIES['ip4']}",
        },
    )
    assert done.returncode == 0, done.stderr
    text, members = contents(archive)
    for kind, value in CANARIES.items():
        found = [line for line in text.splitlines() if value.lower() in line.lower()]
        assert not found, (kind, found[:3])
    assert "canary" not in text.lower()
    for member in members:
        assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (0, 0, "", "", 0)
        assert not any(value in member.name for value in CANARIES.values())
        assert member.isreg()
    assert archive.read_bytes()[3:8] == b"\0\0\0\0\0"  # neither a file name nor a time in gzip's header
    assert "replaced" in done.stderr


def test_the_archive_says_what_could_not_be_read(tmp_path: Path) -> None:
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    for name in ("cat", "readlink"):
        reports.program(tmp_path / "none", name, "")
    (tmp_path / "bin").mkdir()
    archive, done = collect(tmp_path, tmp_path / "root", tmp_path / "bin")
    text, _ = contents(archive)
    for what in ("the list of PCI devices", "the kernel log"):
        assert what in text
        assert what in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "x.tar.gz"], "not a terminal: pass --yes"),
        (["-o"], "needs a file name"),
        (["--yes", "-o", "."], "is a folder"),
        (["--yes", "--wrong"], "unknown argument"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_read(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        ["sh", str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "box.tar.gz").write_text("mine")
    archive, done = collect(tmp_path, tmp_path, tmp_path)
    assert done.returncode == 2
    assert archive.read_text() == "mine"


def test_the_archive_can_go_to_stdout(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    done = subprocess.run(
        ["sh", str(SCRIPT), "-o", "-", "--yes"],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "DLBOX_COLLECT_ROOT": str(tmp_path / "root")},
    )
    assert done.returncode == 0
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as opened:
        assert "dlbox-collect/README.txt" in opened.getnames()
