"""The running daemon: signals, systemd, and a clean end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import signal
import sys
from pathlib import Path

import uvloop

from coordinator.app import Coordinator, serve
from coordinator.config import Settings, load_settings
from protocol import __version__
from protocol.errors import FerrymanError
from protocol.logs import log_to_stderr, write_as
from protocol.sd_notify import READY, STOPPING, feed_watchdog, notify
from protocol.settings import SettingsError

log = logging.getLogger(__name__)


def run(config: Path | None, data_dir: Path | None, listen: str | None) -> None:
    """Run the coordinator until SIGTERM or SIGINT. Exits 1 with one line if it can't start."""
    log_to_stderr()
    _allow_many_connections()
    try:
        settings = load_settings(config, data_dir, listen)
        write_as(settings.log)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_run(settings))
    except (SettingsError, FerrymanError) as error:
        sys.exit(f"ferryman-coordinator: {error}")


def _allow_many_connections() -> None:
    """Raise the limit of open files, one for each agent, to what this process may have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _run(settings: Settings) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with Coordinator(settings) as coordinator, serve(coordinator) as url:
        notify(READY)
        print(f"ferryman-coordinator {__version__} ready at {url}", flush=True)
        await _until_stopped(coordinator, stopped)
        notify(STOPPING)
        log.info("stopping")


async def _until_stopped(coordinator: Coordinator, stopped: asyncio.Event) -> None:
    parts = [
        asyncio.create_task(stopped.wait()),
        asyncio.create_task(coordinator.failed()),
        asyncio.create_task(feed_watchdog(coordinator.turned)),
    ]
    try:
        done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        for part in done:
            part.result()
    finally:
        for part in parts:
            part.cancel()
