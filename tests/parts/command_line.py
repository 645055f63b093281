"""`ferryman` as a real process, on pipes or on a terminal of a given size."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

FERRYMAN = [sys.executable, "-c", "from coordinator.cli.main import main; main()"]
DEADLINE = 60.0


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it said."""

    code: int
    out: str
    err: str = ""


def piped(
    arguments: Sequence[str], environment: Mapping[str, str], *, told: str | None = None
) -> Ended:
    """Run to the end with stdout and stderr on pipes; `told` is its standard input."""
    done = subprocess.run(
        [*FERRYMAN, *arguments],
        env=_clean(environment),
        input=told,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def interrupted(
    arguments: Sequence[str], environment: Mapping[str, str], when: Callable[[], bool]
) -> Ended:
    """Run on pipes, send Ctrl-C once `when` holds, and wait for the end."""
    with subprocess.Popen(
        [*FERRYMAN, *arguments],
        env=_clean(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until = time.monotonic() + DEADLINE
        while not when():
            assert time.monotonic() < until, "it never came so far"
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE)
        return Ended(process.returncode, out, err)


def on_terminal(
    arguments: Sequence[str], environment: Mapping[str, str], *, lines: int = 24, columns: int = 100
) -> Ended:
    """Run to the end on a terminal; `out` is everything that the terminal got."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    environment = {**_clean(environment), "TERM": "xterm-256color"}
    with subprocess.Popen(
        [*FERRYMAN, *arguments], env=environment, stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        got = _read_all(master)
        code = process.wait(DEADLINE)
    os.close(master)
    return Ended(code, got.decode(errors="replace"))


def _read_all(master: int) -> bytes:
    got = b""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        if not select.select([master], [], [], 1)[0]:
            continue
        try:
            part = os.read(master, 65536)
        except OSError:
            return got
        if not part:
            return got
        got += part
    raise AssertionError("the terminal was never closed")


def _clean(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "LANG": "C.UTF-8"}
    return {**kept, **environment}
