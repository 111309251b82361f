"""Builds an environment from a lock file; the role environment runs it on the machine, as root.

uv installs the packages: it downloads several at once and takes a third of pip's time. pip installs uv by its hash.
If pip's configuration has an option without an equivalent in uv, or if uv fails, pip installs the packages.

It needs only the standard library of Python 3.8 or later. ``build.py PLAN`` takes one JSON document: ``root``,
``folder`` (of the new environment), ``python``, ``lock`` (a file, which is moved into the environment), ``uv`` (the
text of a lock file, or empty), ``over`` (an environment whose packages are included, or empty), ``wheel`` (``path``
and ``sha256``, or empty) and ``damaged`` (whether an earlier version of the environment was changed, so that files
which it shares with the cache are not reused).
It prints each step on stdout; an error is one sentence on stderr with exit code 1.
"""

from __future__ import annotations

import ast
import fcntl
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

STAMP = ".complete"
UV_CACHE = "cache/uv-cache"
PATIENCE_S = 900
TRUE = ("1", "true", "yes", "on")

SAME = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_INDEX",
    "trusted-host": "UV_INSECURE_HOST",
    "cert": "SSL_CERT_FILE",
    "client-cert": "SSL_CLIENT_CERT",
    "timeout": "UV_HTTP_TIMEOUT",
    "default-timeout": "UV_HTTP_TIMEOUT",
    "retries": "UV_HTTP_RETRIES",
}
"""pip's options and uv's variables with the same meaning; both separate several values by white space."""
WITHOUT_MEANING = {
    "cache-dir", "config-file", "compile", "no-compile", "disable-pip-version-check", "no-input", "progress-bar",
    "quiet", "root-user-action", "user", "verbose", "no-warn-script-location", "break-system-packages",
    "require-virtualenv",
}  # fmt: skip
"""Options of pip that have no effect here, because versions, files and folder are fixed."""


class BuildError(Exception):
    """The environment cannot be built; the message is one sentence."""


def build(plan: dict[str, Any]) -> None:
    root, folder = Path(plan["root"]), Path(plan["folder"])
    held = hold(root / ".lock")
    try:
        if (folder / STAMP).is_file():
            return  # another run built it while this one waited
        if folder.exists():
            say("the remains of an interrupted run are removed")
            shutil.rmtree(folder)
        if plan["damaged"]:
            shutil.rmtree(root / UV_CACHE, ignore_errors=True)
        for place in (root / "venv", folder.parent, root / "cache/tmp"):
            place.mkdir(mode=0o755, parents=True, exist_ok=True)
        say("the environment is made")
        carried = None if plan["over"] else carried_pip(plan["python"], held)
        without = (
            ["--without-pip"] if plan["over"] or carried else []
        )  # venv itself takes seconds to install pip
        run([plan["python"], "-m", "venv", *without, str(folder)], held)
        if carried:
            itself = [str(folder / "bin/python"), f"{carried}/pip", "install", "-q"]
            unset = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
            # The configuration for packages from an index must not apply to pip itself.
            unset["PIP_CONFIG_FILE"] = os.devnull
            run([*itself, "--no-index", "--no-deps", "--no-compile", carried], held, unset)
        share = folder / "share/dlbox"
        share.mkdir(parents=True)
        lists = [lay(Path(plan["lock"]), share / "lock.txt")]
        if plan["wheel"]:
            wheel = lay(Path(plan["wheel"]["path"]), share / Path(plan["wheel"]["path"]).name)
            lists.append(share / "wheel.txt")
            lists[-1].write_text(f"{wheel} --hash=sha256:{plan['wheel']['sha256']}\n", encoding="utf-8")
        pip = [str((root / "venv" / plan["over"] if plan["over"] else folder) / "bin/python"), "-m", "pip"]
        install(root, folder, pip, lists, plan["uv"], held)
        if plan["over"]:
            see(folder, root / "venv" / plan["over"])
        compile_all(folder, held)
    finally:
        os.close(held)


def carried_pip(python: str, held: int) -> str:
    """The bundled pip wheel of a Python, from the folders of Python and Debian; empty if not found."""
    library = run([python, "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"], held).strip()
    for place in (Path(library) / "ensurepip/_bundled", Path("/usr/share/python-wheels")):
        found = sorted(place.glob("pip-*.whl"))
        if found:
            return str(found[-1])
    return ""


def hold(path: Path) -> int:
    """Take a lock that child processes inherit, because they continue if the controller ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    held = os.open(str(path), os.O_CREAT | os.O_RDWR, 0o644)
    os.set_inheritable(held, True)
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return held
        except OSError:
            if time.monotonic() > until:
                raise BuildError(
                    f"another program has been installing Python packages here for {PATIENCE_S} s: wait until it ends "
                    "or end it, then run the same command"
                ) from None
            time.sleep(0.2)


def lay(source: Path, place: Path) -> Path:
    """Move a file that the controller sent to its final place."""
    shutil.move(str(source), str(place))
    place.chmod(0o644)
    return place


def install(root: Path, folder: Path, pip: list[str], lists: list[Path], uv: str, held: int) -> None:
    named = [part for path in lists for part in ("-r", str(path))]
    why = "the plan has no version of uv"
    if uv:
        settings, why = settings_for_uv(run([*pip, "config", "list"], held))
        if settings is not None:
            settings = {**os.environ, **settings, "UV_CACHE_DIR": str(root / UV_CACHE)}
            why = with_uv(root, folder, pip, named, uv, settings, held)
    if why:
        say(f"pip installs the packages: {why}")
        command = [
            *pip,
            "--python",
            str(folder / "bin/python"),
            "install",
            "--require-hashes",
            "--no-deps",
            *named,
        ]
        done = attempt(command, held)
        if done.returncode:
            sys.stderr.write(done.stdout + done.stderr + why_not_reached(done, command, held))
            raise SystemExit(1)


def why_not_reached(done: subprocess.CompletedProcess[str], command: list[str], held: int) -> str:
    """Why pip did not reach an index. pip prints "from versions: none", and the reason only with -vv."""
    if "from versions: none" not in done.stderr:
        return ""
    again = attempt([*command, "-vv"], held)
    lines = [
        line.strip() for line in (again.stdout + again.stderr).splitlines() if "Could not fetch URL" in line
    ]
    return "".join(f"{line}\n" for line in lines[:1])


def settings_for_uv(listed: str) -> tuple[dict[str, str] | None, str]:
    """uv's variables for the output of ``pip config list``; None and the reason if uv has no equivalent."""
    options: dict[str, str] = {}
    for line in listed.splitlines():
        match = re.match(r"(\S+?)\.([\w-]+)=(.*)$", line)
        if match and match[1] in ("global", "install", ":env:"):
            try:
                options[match[2].replace("_", "-")] = str(ast.literal_eval(match[3]))
            except (ValueError, SyntaxError):
                return None, f"the value of its option {match[2]} cannot be passed to uv"
    settings = {
        "UV_NO_CONFIG": "1",
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_INDEX_STRATEGY": "unsafe-best-match",  # as pip does; the hashes select the file
    }
    for option, text in options.items():
        words = " ".join(text.split())
        if option in SAME:
            settings[SAME[option]] = words
        elif option == "find-links":
            settings["UV_FIND_LINKS"] = ",".join(words.split())
        elif option == "no-index":
            settings["UV_NO_INDEX"] = "1" if words.lower() in TRUE else "0"
        elif option == "proxy":
            settings.update(dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), words))
        elif option not in WITHOUT_MEANING:
            return None, f"uv has no equivalent of its option {option}"
    return settings, ""


def with_uv(
    root: Path, folder: Path, pip: list[str], named: list[str], uv: str, settings: dict[str, str], held: int
) -> str:
    """Install with uv. Returns the reason if uv failed. Raises BuildError if pip would fail too."""
    program = root / "venv/uv/bin/uv"
    if not program.is_file():
        place = root / "cache/uv"
        program = place / "bin/uv"
        if not program.is_file():
            shutil.rmtree(place, ignore_errors=True)
            wanted = root / "cache/uv.txt"
            wanted.write_text(uv, encoding="utf-8")
            fetched = attempt(
                [
                    *pip,
                    "install",
                    "-q",
                    "--require-hashes",
                    "--no-deps",
                    "--target",
                    str(place),
                    "-r",
                    str(wanted),
                ],
                held,
            )
            if fetched.returncode:
                shutil.rmtree(place, ignore_errors=True)
                return f"uv could not be installed ({last(fetched)})"
    command = [str(program), "pip", "install", "-q", "--python", str(folder / "bin/python")]
    try:
        done = attempt([*command, "--require-hashes", "--no-deps", *named], held, settings)
    except OSError as error:
        return f"uv does not start ({error.strerror})"
    if not done.returncode:
        say("uv installed the packages")
        return ""
    why = " ".join(" ".join(done.stderr.split()).split("error: ")[-1].split("Caused by: "))
    if "os error 28" in done.stderr or "No space left" in done.stderr:
        raise BuildError(
            f"ERROR: No space left on device: {root} is full; free space, then run the same command"
        )
    return f"uv failed ({why[:300]})"


def see(folder: Path, over: Path) -> None:
    """Make the packages of the other environment visible in this one."""
    if not re.fullmatch(r"/[A-Za-z0-9._+/-]+", str(over)):  # a line that starts with "import" is executed
        raise BuildError(f"ERROR: {str(over)[:80]!r} cannot be named in a .pth file")
    for library in folder.glob("lib/python3.*"):
        line = f"{over}/lib/{library.name}/site-packages\n"
        (library / "site-packages/dlbox_over.pth").write_text(line, encoding="utf-8")


def compile_all(folder: Path, held: int) -> None:
    """Compile the bytecode. Files that are not for this Python (templates, tests of old syntax) are skipped."""
    say("bytecode is compiled")
    python = str(folder / "bin/python")
    done = attempt([python, "-m", "compileall", "-q", "-j", "0", str(folder / "lib")], held)
    bare = run([python, "-I", __file__, "bare", str(folder / "lib")], held).split()
    if bare or done.returncode > 1:
        raise BuildError(
            f"Python wrote no bytecode for {', '.join(bare) or 'the packages'}, so every start would compile them "
            f"again: make sure that {folder} has free space (`df {folder}`), then run the same command."
        )


def without_bytecode(library: Path) -> list[str]:
    """The packages whose first file compiles and has no bytecode. The environment's own Python must run this."""
    found = []
    for first in sorted(library.glob("python3*/site-packages/*/__init__.py")):
        if not Path(importlib.util.cache_from_source(str(first))).is_file():
            try:
                compile(first.read_bytes(), str(first), "exec")
            except (SyntaxError, ValueError):
                continue
            found.append(first.parent.name)
    return found


def attempt(
    command: list[str], held: int, settings: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False, env=settings, pass_fds=(held,),
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def run(command: list[str], held: int, settings: dict[str, str] | None = None) -> str:
    """The output of a command. If it fails, its output is printed on stderr and the program ends."""
    done = attempt(command, held, settings)
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        raise SystemExit(1)
    return done.stdout


def last(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return lines[-1].strip() if lines else f"exit code {done.returncode}"


def say(what: str) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main(how: str, *rest: str) -> None:
    if how == "bare":
        sys.stdout.write("\n".join(without_bytecode(Path(rest[0]))))
        return
    try:
        build(json.loads(how))
    except BuildError as why:
        sys.stderr.write(f"{why}\n")
        raise SystemExit(1) from None
    except OSError as error:
        sys.stderr.write(f"ERROR: {error.strerror}: {error.filename}\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main(*sys.argv[1:])
