"""A process that has imported Keras on one backend and runs scripts, each in a fork.

Importing takes four to five seconds of processor time. A script cannot see what another one changed, because each has
its own fork. The process itself computes nothing: a fork of a backend that has computed can hang.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parent.parent

SERVER = """
import json, os, sys, traceback
import keras
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for number, name in enumerate(("/dev/null", job["out"], job["err"])):
                os.dup2(os.open(name, os.O_RDWR | os.O_CREAT, 0o600), number)
            os.environ.clear()
            os.environ.update(job["environment"])
            sys.argv = ["-c", *job["arguments"]]
            exec(compile(job["code"], "<script>", "exec"), {"__name__": "__main__"})
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


DLBOX = """
import os, runpy, sys
folder, *sys.argv = sys.argv[1:]
os.chdir(folder)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Framework:
    """Runs scripts with ``backend`` imported. As a context manager it ends its process."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - until the end
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER], cwd=ROOT, text=True, env=self._environment(),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
        )  # fmt: skip

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ, "KERAS_BACKEND": self.backend, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"
        }  # fmt: skip

    def run(self, code: str, *arguments: str, timeout: float = 280) -> subprocess.CompletedProcess[str]:
        """Like `python -c CODE ARGUMENTS` in the root of the project, with the current environment."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder) / "out", Path(folder) / "err"
            out.touch()
            err.touch()
            job = {
                "code": textwrap.dedent(code), "arguments": arguments, "out": str(out), "err": str(err),
                "environment": self._environment(),
            }  # fmt: skip
            self._server.stdin.write(json.dumps(job) + "\n")
            self._server.stdin.flush()
            answered = select.select([self._server.stdout], [], [], timeout)[0]
            answer = self._server.stdout.readline() if answered else ""
            if not answer:
                self.close()
                self._log.seek(0)
                raise AssertionError(f"no answer on {self.backend}: {self._log.read().decode()[-2000:]}")
            return subprocess.CompletedProcess(
                ["-c", *arguments], int(answer), out.read_text("utf-8"), err.read_text("utf-8")
            )

    def dlbox(self, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """Like `dlbox WORDS` in ``folder``. Fails if the output has a traceback."""
        done = self.run(DLBOX, str(folder), str(ROOT / "dlbox.py"), *words)
        assert "Traceback" not in done.stderr, done.stderr[-2000:]
        return done

    def close(self) -> None:
        self._server.kill()
        self._server.wait()

    def __enter__(self) -> Framework:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
