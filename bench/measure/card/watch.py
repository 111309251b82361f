"""Read the cards' sensors while a workload trains: a child process reads NVML twice a second, a thread stores them.

The child is ``inventory.nvml.probe --watch``, as in ``dlbox check --stress``. If it crashes, hangs or sends invalid
data, the readings end and the reason is stored; the training is not affected.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from bench.measure.card import summary
from bench.measure.card.summary import Moment, Timed
from bench.measure.events import Block, Event, Imported
from bench.results.record.card import Telemetry
from common.processes.child import Child, python_path_variables
from common.processes.pipe_reader import PipeReader
from inventory.gather import PROBE
from inventory.machine.gpu_records import Gpu, GpuProcess
from inventory.nvml.probe import Line

EVERY_S = 0.5
SILENCE_S = 15.0
"""Seconds without output after which the child process is assumed to hang in the driver. A card that wakes up needs a
few seconds."""

_POLL_S = 0.2
_MOST_MOMENTS = 20_000
"""Maximum number of readings of all cards together, to limit the memory in long trainings."""

_NOTHING_TIMED = Timed(start=0.0, end=0.0, examples=0)


LATEST: dict[int, tuple[float, Gpu]] = {}
"""The newest reading of each card and its time (``time.monotonic``), for a display in this process."""


class Sampler:
    """A context manager, entered once per training process. The child process runs inside the context only.

    Its clock stops outside the context, so that the time of other trainings does not count.
    """

    def __init__(
        self,
        *,
        command: Sequence[str] = PROBE,
        every_s: float = EVERY_S,
        silence_s: float = SILENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = (*command, "--watch", str(every_s))
        self._silence_s, self._clock = silence_s, clock
        self._start = self._stopped = clock()
        self._child: Child | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._moments: list[Moment] = []
        self._timed: list[Timed] = []
        self._trouble = ""
        self._process = 0
        self.worker_pid = 0
        """Process id of the current training process; 0 if it is not known yet."""

    def __enter__(self) -> Sampler:
        self._start += self._clock() - self._stopped
        self._ended = threading.Event()  # the previous thread may still use the old event
        self.worker_pid = 0
        try:
            self._child = Child(self._command, python_path_variables())
            self._thread = threading.Thread(target=self._watch, args=(self._child, self._ended), daemon=True)
            self._thread.start()
        except (
            OSError,
            RuntimeError,
        ) as error:  # raised if the user's limit of processes or threads is reached
            self._trouble = f"the sensors of the card could not be read: {error}"
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread is not None and self._thread.ident is not None:
            self._thread.join(5 * _POLL_S)
        if self._child is not None:
            self._child.stop()
        LATEST.clear()  # nothing reads the cards any more, so their age says nothing about them
        self._stopped, self._process = self._clock(), self._process + 1

    def on_event(self, event: Event) -> None:
        """Take the worker's process id and its timed blocks from its events."""
        if isinstance(event, Imported):
            self.worker_pid = event.pid
            self._timed.append(msgspec.structs.replace(_NOTHING_TIMED, process=self._process))
        elif isinstance(event, Block):
            end = self._clock() - self._start
            last = self._timed.pop() if self._timed else _NOTHING_TIMED
            start = last.start if last.examples else max(0.0, end - event.seconds)
            examples = last.examples + event.examples
            self._timed.append(Timed(start=start, end=end, examples=examples, process=self._process))

    def telemetry(self) -> Telemetry:
        """The readings and their summary; complete after the context has ended."""
        timed = [t for t in self._timed if t.examples]
        try:
            return summary.telemetry(list(self._moments), timed, self._trouble)
        except (
            ArithmeticError,
            ValueError,
            TypeError,
        ) as error:  # impossible readings must not end the training
            return Telemetry(trouble=f"the readings are invalid ({error})")

    def _watch(self, child: Child, ended: threading.Event) -> None:
        try:
            self._trouble = self._listen(child, ended)
        except Exception as error:  # no error in this thread may stop the training
            self._trouble = f"reading the sensors of the card failed ({type(error).__name__})"

    def _listen(self, child: Child, ended: threading.Event) -> str:
        """Read lines until the context ends. Return why reading ended earlier, or an empty text."""
        if child.process is None or child.process.stdout is None:
            return f"the process that queries NVML {child.failure}"
        last_output = self._clock()
        with PipeReader(child.process.stdout) as reader:
            while not ended.is_set():
                received = reader.read(_POLL_S)
                if not received:
                    if self._clock() - last_output > self._silence_s:
                        return "the process that queries NVML did not answer in time"
                    continue
                if received[0].closed:
                    return self._trouble or self._ending(child, ended)
                last_output = self._clock()
                for line in received[0].lines:
                    self._take(line)
        return self._trouble

    def _ending(self, child: Child, ended: threading.Event) -> str:
        """Why the child process ended before the context did; "" if the context has ended."""
        if ended.is_set():
            return ""
        why = child.finish(self._clock() - child.started + 1).why or "ended"
        return f"the process that queries NVML {why}"

    def _take(self, line: bytes) -> None:
        try:
            line_data = msgspec.json.decode(line, type=Line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return
        if line_data.opening is not None and not line_data.opening.nvml.ok:
            self._trouble = f"NVML did not start: {line_data.opening.nvml.why}"
        if line_data.gpu is None:
            return
        LATEST[line_data.gpu.index] = (time.monotonic(), line_data.gpu)
        if not line_data.gpu.handle.ok:
            self._trouble = f"card {line_data.gpu.index}: {line_data.gpu.handle.why}"
        elif len(self._moments) < _MOST_MOMENTS:
            self._moments.append(self._moment(line_data.gpu))

    def _moment(self, gpu: Gpu) -> Moment:
        second = self._clock() - self._start
        listed = gpu.processes.value
        gpu = Gpu(  # only the needed fields, because a long run has thousands of readings
            index=gpu.index,
            temperatures=gpu.temperatures,
            power=gpu.power,
            clocks=gpu.clocks,
            utilisation_percent=gpu.utilisation_percent,
        )
        moment = Moment(second=second, gpu=gpu, process=self._process)
        if listed is None or not self.worker_pid:
            return moment
        own = [p for p in listed if belongs(p.pid, self.worker_pid)]
        if not own and any(not p.name for p in listed):
            # /proc does not have these programs: their ids are of another namespace, or hidden from this user.
            return moment
        others = [p for p in listed if p not in own and p.kind == "compute"]
        sizes = [p.memory_bytes for p in own if p.memory_bytes is not None]
        shares = {_label(p): p.sm_percent for p in others if p.sm_percent is not None}
        return msgspec.structs.replace(
            moment,
            own_seen=bool(own),
            own_memory_bytes=sum(sizes) if sizes else None,
            others=tuple(_label(p) for p in others if not p.draws),
            own_running=any(p.sm_percent for p in own),
            shares=shares if len(shares) == len(others) else None,
        )


def belongs(pid: int, worker_pid: int) -> bool:
    """Whether a process is the worker or was started by it, which means that it is in the worker's session."""
    if pid == worker_pid:
        return True
    try:
        return os.getsid(pid) == worker_pid
    except OSError:
        return False


def _label(process: GpuProcess) -> str:
    return f"{process.name or 'a program'} ({process.pid})"
