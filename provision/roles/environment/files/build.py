"""Builds an environment from a lock file: run on the box by the role environment, as root.

Packages come by uv, which pip fetches by its own hash: it downloads many at once and takes a third of pip's time.
Where pip's configuration says something that uv has no word for, or uv fails, pip installs them itself.

Standard library only, Python 3.8 or later. ``build.py PLAN`` takes one JSON document: ``root``, ``folder`` (the
environment to be), ``python``, ``lock`` (a file; moved into the environment), ``uv`` (a lock file's text, or empty),
``over`` (an environment whose packages are seen as well, or empty), ``wheel`` (``path`` and ``sha256``, or empty) and
``damaged`` (an environment that was built before has changed since: nothing that it shares files with is used).
It says what it did on stdout; one sentence on stderr and exit code 1 where it could not.
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
"""pip's options and uv's variables of the same meaning; several values stand apart by white space in both."""
WITHOUT_MEANING = {
    "cache-dir", "config-file", "compile", "no-compile", "disable-pip-version-check", "no-input", "progress-bar",
    "quiet", "root-user-action", "user", "verbose", "no-warn-script-location", "break-system-packages",
    "require-virtualenv",
}  # fmt: skip
"""Options of pip that change nothing here, where versions, files and folder are given."""


class BuildError(Exception):
    """A sentence for a person."""


def build(plan: dict[str, Any]) -> None:
    root, folder = Path(plan["root"]), Path(plan["folder"])
    held = hold(root / ".lock")
    try:
        if (folder / STAMP).is_file():
            return  # another run was waited for, and did it
        if folder.exists():
            say("what an interrupted run left is removed")
            shutil.rmtree(folder)
        if plan["damaged"]:
            shutil.rmtree(root / UV_CACHE, ignore_errors=True)
        for place in (root / "venv", folder.parent, root / "cache/tmp"):
            place.mkdir(mode=0o755, parents=True, exist_ok=True)
        say("the environment is made")
        carried = None if plan["over"] else carried_pip(plan["python"], held)
        without = ["--without-pip"] if plan["over"] or carried else []  # venv itself takes seconds for it
        run([plan["python"], "-m", "venv", *without, str(folder)], held)
        if carried:
            itself = [str(folder / "bin/python"), f"{carried}/pip", "install", "-q"]
            unset = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
            # What pip is told for packages from an index is not for this one.
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
    """The wheel of pip that comes with a Python; empty where it is not where Python and Debian put it."""
    library = run([python, "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"], held).strip()
    for place in (Path(library) / "ensurepip/_bundled", Path("/usr/share/python-wheels")):
        found = sorted(place.glob("pip-*.whl"))
        if found:
            return str(found[-1])
    return ""


def hold(path: Path) -> int:
    """A lock that children share: what a controller that died has started here goes on without it."""
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
                    f"somebody else has been installing packages of Python here for {PATIENCE_S} s: let it finish or "
                    "end it, then run the same command"
                ) from None
            time.sleep(0.2)


def lay(source: Path, place: Path) -> Path:
    """Move a file that came from the controller to where it stays."""
    shutil.move(str(source), str(place))
    place.chmod(0o644)
    return place


def install(root: Path, folder: Path, pip: list[str], lists: list[Path], uv: str, held: int) -> None:
    named = [part for path in lists for part in ("-r", str(path))]
    why = "no version of uv was named"
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
    """pip says "from versions: none" of an index that it did not reach, and why only where it is asked for all."""
    if "from versions: none" not in done.stderr:
        return ""
    again = attempt([*command, "-vv"], held)
    lines = [
        line.strip() for line in (again.stdout + again.stderr).splitlines() if "Could not fetch URL" in line
    ]
    return "".join(f"{line}\n" for line in lines[:1])


def settings_for_uv(listed: str) -> tuple[dict[str, str] | None, str]:
    """uv's variables for what ``pip config list`` shows; none, and why, where uv cannot be told the same."""
    options: dict[str, str] = {}
    for line in listed.splitlines():
        match = re.match(r"(\S+?)\.([\w-]+)=(.*)$", line)
        if match and match[1] in ("global", "install", ":env:"):
            try:
                options[match[2].replace("_", "-")] = str(ast.literal_eval(match[3]))
            except (ValueError, SyntaxError):
                return None, f"uv cannot be told its option {match[2]}"
    settings = {
        "UV_NO_CONFIG": "1",
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_INDEX_STRATEGY": "unsafe-best-match",  # as pip does; the hashes say which file is meant
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
            return None, f"uv has no word for its option {option}"
    return settings, ""


def with_uv(
    root: Path, folder: Path, pip: list[str], named: list[str], uv: str, settings: dict[str, str], held: int
) -> str:
    """Install; the reason where it was not uv that could. Raises BuildError where pip could not either."""
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
                return f"uv did not come ({last(fetched)})"
    command = [str(program), "pip", "install", "-q", "--python", str(folder / "bin/python")]
    try:
        done = attempt([*command, "--require-hashes", "--no-deps", *named], held, settings)
    except OSError as error:
        return f"uv does not start here ({error.strerror})"
    if not done.returncode:
        say("uv installed the packages")
        return ""
    why = " ".join(" ".join(done.stderr.split()).split("error: ")[-1].split("Caused by: "))
    if "os error 28" in done.stderr or "No space left" in done.stderr:
        raise BuildError(
            f"ERROR: No space left on device: {root} is full; make room, then run the same command"
        )
    return f"uv could not ({why[:300]})"


def see(folder: Path, over: Path) -> None:
    """The packages of the other environment are seen."""
    if not re.fullmatch(r"/[A-Za-z0-9._+/-]+", str(over)):  # a line that starts with "import" is executed
        raise BuildError(f"ERROR: {str(over)[:80]!r} is no folder that a .pth file can name")
    for library in folder.glob("lib/python3.*"):
        line = f"{over}/lib/{library.name}/site-packages\n"
        (library / "site-packages/dlbox_over.pth").write_text(line, encoding="utf-8")


def compile_all(folder: Path, held: int) -> None:
    """Files that are not meant for this Python (templates, tests of old syntax) do not compile and are let be."""
    say("bytecode is compiled")
    python = str(folder / "bin/python")
    done = attempt([python, "-m", "compileall", "-q", "-j", "0", str(folder / "lib")], held)
    bare = run([python, "-I", __file__, "bare", str(folder / "lib")], held).split()
    if bare or done.returncode > 1:
        raise BuildError(
            f"Python wrote no bytecode for {', '.join(bare) or 'what was installed'}, and every start would compile it "
            f"again: see that {folder} has room (`df {folder}`), then run the same command."
        )


def without_bytecode(library: Path) -> list[str]:
    """The packages whose first file compiles and has no bytecode; asked of the environment's own Python."""
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
    """Its output. Where it fails, all that it printed goes to stderr, and this ends."""
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
