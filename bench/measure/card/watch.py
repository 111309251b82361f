"""Watch the cards while a workload trains: a child reads NVML twice a second, a thread here notes what it says.

The child is ``inventory.nvml.probe --watch``, the one that ``dlbox check --stress`` uses. Whatever it does (crash,
hang, nonsense) only ends the watching, with its reason kept; training neither waits for it nor hears of it.
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
from common.child import Child, python_path_variables
from common.pipe_reader import PipeReader
from inventory.gather import PROBE
from inventory.machine.records import Gpu, GpuProcess
from inventory.nvml.probe import Line

EVERY_S = 0.5
SILENCE_S = 15.0
"""A child that says nothing for so long hangs in the driver. A card that wakes up takes a few seconds."""

_LOOK_S = 0.2
_MOST_MOMENTS = 20_000
"""Of all cards together; days of training are not kept in memory."""

_NOTHING_TIMED = Timed(start=0.0, end=0.0, examples=0)


class Sampler:
    """Use it as a context, as often as there are processes: the child runs inside, and none is left when it ends.

    Its seconds go on where they stopped: what was trained meanwhile is not on its clock.
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
        self._began = self._left = clock()
        self._child: Child | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._moments: list[Moment] = []
        self._timed: list[Timed] = []
        self._trouble = ""
        self._process = 0
        self.worker_pid = 0
        """Of the process that trains now. 0: not known yet."""

    def __enter__(self) -> Sampler:
        self._began += self._clock() - self._left
        self._ended = threading.Event()  # an earlier thread may still look at its own
        self.worker_pid = 0
        try:
            self._child = Child(self._command, python_path_variables())
            self._thread = threading.Thread(target=self._watch, args=(self._child, self._ended), daemon=True)
            self._thread.start()
        except (OSError, RuntimeError) as error:  # no more processes or threads for this user
            self._trouble = f"the card could not be watched: {error}"
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread is not None and self._thread.ident is not None:
            self._thread.join(5 * _LOOK_S)
        if self._child is not None:
            self._child.stop()
        self._left, self._process = self._clock(), self._process + 1

    def hear(self, event: Event) -> None:
        """What the worker says tells which process it is and when it is timed."""
        if isinstance(event, Imported):
            self.worker_pid = event.pid
            self._timed.append(msgspec.structs.replace(_NOTHING_TIMED, process=self._process))
        elif isinstance(event, Block):
            end = self._clock() - self._began
            last = self._timed.pop() if self._timed else _NOTHING_TIMED
            start = last.start if last.examples else max(0.0, end - event.seconds)
            examples = last.examples + event.examples
            self._timed.append(Timed(start=start, end=end, examples=examples, process=self._process))

    def telemetry(self) -> Telemetry:
        """What was seen; whole once the context has ended."""
        timed = [t for t in self._timed if t.examples]
        try:
            return summary.telemetry(list(self._moments), timed, self._trouble)
        except (ArithmeticError, ValueError, TypeError) as error:  # readings that cannot be: training counts
            return Telemetry(trouble=f"the readings make no sense ({error})")

    def _watch(self, child: Child, ended: threading.Event) -> None:
        try:
            self._trouble = self._listen(child, ended)
        except Exception as error:  # nothing that goes wrong here may reach the training
            self._trouble = f"the card could not be watched any longer ({type(error).__name__})"

    def _listen(self, child: Child, ended: threading.Event) -> str:
        """Take lines until the context ends; why it ended earlier, or nothing."""
        if child.process is None or child.process.stdout is None:
            return f"the process that asks NVML {child.failure}"
        heard = self._clock()
        with PipeReader(child.process.stdout) as reader:
            while not ended.is_set():
                received = reader.read(_LOOK_S)
                if not received:
                    if self._clock() - heard > self._silence_s:
                        return "the process that asks NVML did not answer in time"
                    continue
                if received[0].closed:
                    return self._trouble or self._ending(child, ended)
                heard = self._clock()
                for line in received[0].lines:
                    self._take(line)
        return self._trouble

    def _ending(self, child: Child, ended: threading.Event) -> str:
        """The child went away while it was wanted."""
        if ended.is_set():
            return ""
        why = child.finish(self._clock() - child.started + 1).why or "ended"
        return f"the process that asks NVML {why}"

    def _take(self, line: bytes) -> None:
        try:
            told = msgspec.json.decode(line, type=Line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return
        if told.opening is not None and not told.opening.nvml.ok:
            self._trouble = f"NVML did not start: {told.opening.nvml.why}"
        if told.gpu is None:
            return
        if not told.gpu.handle.ok:
            self._trouble = f"card {told.gpu.index}: {told.gpu.handle.why}"
        elif len(self._moments) < _MOST_MOMENTS:
            self._moments.append(self._moment(told.gpu))

    def _moment(self, gpu: Gpu) -> Moment:
        second = self._clock() - self._began
        listed = gpu.processes.value
        gpu = Gpu(  # what is needed of it: a long run has thousands
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
            # Programs that /proc does not know: their numbers are of another name space, or not for this user.
            return moment
        others = [p for p in listed if p not in own and p.kind == "compute"]
        sizes = [p.memory_bytes for p in own if p.memory_bytes is not None]
        shares = {_called(p): p.sm_percent for p in others if p.sm_percent is not None}
        return msgspec.structs.replace(
            moment,
            own_seen=bool(own),
            own_memory_bytes=sum(sizes) if sizes else None,
            others=tuple(_called(p) for p in others if not p.draws),
            own_at_work=any(p.sm_percent for p in own),
            shares=shares if len(shares) == len(others) else None,
        )


def belongs(pid: int, worker_pid: int) -> bool:
    """Whether a process is the worker or was started by it: the worker leads a session of its own."""
    if pid == worker_pid:
        return True
    try:
        return os.getsid(pid) == worker_pid
    except OSError:
        return False


def _called(process: GpuProcess) -> str:
    return f"{process.name or 'a program'} ({process.pid})"
