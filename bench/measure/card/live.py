"""Current readings of the cards and the processor, for `dlbox watch`.

A child process queries NVML; a card that hangs or a driver that crashes ends that process and not the view.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from common.processes.child import Child, python_path_variables
from common.processes.pipe_reader import PipeReader
from inventory.gather import PROBE
from inventory.machine.gpu_records import Gpu
from inventory.nvml.probe import Line

SILENCE_S = 5.0
"""Seconds without a reading, beyond the interval, after which a card counts as not answering."""
_MOST_PROGRAMS = 5


class CpuProgram(msgspec.Struct, frozen=True, kw_only=True):
    """A program and its CPU use in percent of one core."""

    pid: int
    name: str
    cpu_percent: float


class Cpu(msgspec.Struct, frozen=True, kw_only=True):
    """The processor and memory. ``core_percents``: utilisation of each core; ``load``: means of 1, 5 and 15 minutes;
    ``temperature_c``: the highest sensor of the processor, None without one."""

    percent: float
    core_percents: tuple[float, ...]
    load: tuple[float, float, float]
    memory_used_bytes: int
    memory_total_bytes: int
    frequency_mhz: float | None = None
    temperature_c: float | None = None
    programs: tuple[CpuProgram, ...] = ()


class CardReader:
    """The newest reading of each card. A context manager; the child process runs inside the context only."""

    def __init__(
        self,
        interval_s: float,
        *,
        command: Sequence[str] = PROBE,
        silence_s: float = SILENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = (*command, "--watch", str(interval_s))
        self._limit_s, self._clock = interval_s + silence_s, clock
        self._child: Child | None = None
        self._reader: PipeReader | None = None
        self._started = 0.0
        self._seen: dict[int, tuple[float, Gpu]] = {}
        self.count: int | None = None
        """Number of cards; None until NVML has answered."""
        self.trouble = ""
        """Why there are no further readings; empty while the child process works."""

    def __enter__(self) -> CardReader:
        self._started = self._clock()
        try:
            self._child = Child(self._command, python_path_variables())
        except (OSError, RuntimeError) as error:
            self.trouble = f"the process that queries NVML did not start: {error}"
            return self
        if self._child.process is None or self._child.process.stdout is None:
            self.trouble = f"the process that queries NVML {self._child.failure}"
        else:
            self._reader = PipeReader(self._child.process.stdout)
            self._reader.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        if self._child is not None:
            self._child.stop()

    def read(self, seconds: float) -> None:
        """Take the readings that arrive within ``seconds``."""
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            if self._reader is None:
                time.sleep(left)
                return
            for output in self._reader.read(left):
                if output.closed:
                    self._ended()
                    break
                for line in output.lines:
                    self._take(line)

    @property
    def cards(self) -> list[Gpu]:
        """The newest reading of each card that was read at least once, in the order of their numbers."""
        return [gpu for _, (_, gpu) in sorted(self._seen.items())]

    def silent_s(self, index: int) -> float | None:
        """Seconds since the last reading of a card that does not answer; None while it answers."""
        age = self._clock() - self._seen[index][0]
        return age if age > self._limit_s or self.trouble else None

    @property
    def waiting_s(self) -> float | None:
        """Seconds since the start while NVML has not answered yet; None afterwards."""
        return None if self.count is not None or self.trouble else self._clock() - self._started

    def _ended(self) -> None:
        self._close()
        if self.trouble or self.count == 0:
            return
        why = self._child.finish(1.0).why if self._child is not None else ""
        self.trouble = f"the process that queries NVML {why or 'ended'}"

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.__exit__(None, None, None)
            self._reader = None

    def _take(self, line: bytes) -> None:
        try:
            message = msgspec.json.decode(line, type=Line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return
        if message.opening is not None:
            self.count = message.opening.count
            if not message.opening.nvml.ok:
                self.trouble = f"NVML did not start: {message.opening.nvml.why}"
        if message.gpu is not None:
            self._seen[message.gpu.index] = (self._clock(), message.gpu)


class CpuReader:
    """Reads the processor. The utilisation is the mean since the previous call of ``read``."""

    def __init__(self) -> None:
        import psutil

        self._psutil = psutil
        self._times: dict[int, tuple[float, float]] = {}
        psutil.cpu_percent(percpu=True)
        self._at = time.monotonic()
        self._use()

    def read(self) -> Cpu:
        psutil = self._psutil
        cores = tuple(psutil.cpu_percent(percpu=True))
        memory = psutil.virtual_memory()
        frequency = psutil.cpu_freq()
        return Cpu(
            percent=round(sum(cores) / len(cores), 1) if cores else 0.0,
            core_percents=cores,
            load=psutil.getloadavg(),
            memory_used_bytes=memory.total - memory.available,
            memory_total_bytes=memory.total,
            frequency_mhz=round(frequency.current) if frequency is not None else None,
            temperature_c=self._temperature(),
            programs=self._use(),
        )

    def _temperature(self) -> float | None:
        try:
            sensors = self._psutil.sensors_temperatures()
        except (AttributeError, OSError):
            return None
        of_cpu = [
            x.current
            for name in ("coretemp", "k10temp", "zenpower", "cpu_thermal")
            for x in sensors.get(name, ())
        ]
        return max(of_cpu, default=None)

    def _use(self) -> tuple[CpuProgram, ...]:
        """The programs that used the CPU most since the previous call."""
        now = time.monotonic()
        passed, self._at = max(now - self._at, 1e-3), now
        found, times = [], {}
        for process in self._psutil.process_iter():
            try:
                used = process.cpu_times()
                seconds, created = used.user + used.system, process.create_time()
                times[process.pid] = (created, seconds)
                before = self._times.get(process.pid)
                if before is not None and before[0] == created and seconds - before[1] > 0.05 * passed:
                    percent = round(100 * (seconds - before[1]) / passed, 1)
                    found.append(CpuProgram(pid=process.pid, name=process.name(), cpu_percent=percent))
            except self._psutil.Error:
                continue
        self._times = times
        return tuple(sorted(found, key=lambda program: -program.cpu_percent)[:_MOST_PROGRAMS])
