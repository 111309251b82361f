"""A process that has imported Keras on one backend and lends itself to script after script.

Importing takes four to five seconds of a processor. Each script runs in a fork of its own, so what one changes no
other sees; the backend must not have computed anything before.
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


class Framework:
    """Runs scripts with ``backend`` imported; a context manager, since its process ends with it."""

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
        """As `python -c CODE ARGUMENTS` in the root of the project, in the environment of now."""
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

    def close(self) -> None:
        self._server.kill()
        self._server.wait()

    def __enter__(self) -> Framework:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
