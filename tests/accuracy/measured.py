"""A program's wall time, processor time and peak memory."""
import dataclasses
import os
import subprocess
import time


@dataclasses.dataclass(frozen=True)
class Measured:
    """One run: seconds, seconds of all its threads together, the largest resident set, and what it printed."""

    seconds: float
    processor_seconds: float
    peak_bytes: int
    printed: str


def run(command, cores):
    """Runs `command` on `cores`; raises where it fails."""
    start = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               preexec_fn=lambda: os.sched_setaffinity(0, cores))
    # The little that these programs print on stderr fits the pipe.
    printed = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {process.stderr.read()}")
    return Measured(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, printed)
