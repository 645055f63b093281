"""`ferryman-agent`: the wiring, from the configuration to a running agent."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NoReturn

from agent import walls
from agent.approval import Approval
from agent.config import (
    DEFAULT_CONFIG,
    AgentConfig,
    HealthCheckSettings,
    InstanceSettings,
    load_config,
)
from agent.connection import Connection
from agent.dialogue import Dialogue
from agent.discovery import AgentAnnouncer, find_coordinator
from agent.download import PackageSource
from agent.drivers.process import ProcessDriver
from agent.drivers.procfs import read_stat
from agent.drivers.systemd import SystemdDriver
from agent.enroll import JoinToken, enroll
from agent.frames import ConnectionLostError
from agent.health import CommandCheck, HttpCheck, RunningCheck, TcpCheck
from agent.hush import Hush, HushedCheck, HushedDriver
from agent.identity import EnrollError, Identity, tidy
from agent.instance import Instance
from agent.journal import Journal, JournalError
from agent.keys import new_key
from agent.memory import give_back_memory, share_one_heap
from agent.moments import boot_id
from agent.pins import Pins
from agent.ports import Driver, HealthCheck
from agent.preparer import Preparer
from agent.releases import Releases
from agent.renewal import Renewal
from agent.strangers import StrangerError, why_not_ours
from agent.upkeep import Upkeep
from agent.worker import Worker
from protocol import __version__
from protocol.endpoints import parse_endpoint
from protocol.logs import log_to_stderr, write_as
from protocol.ownership import own_folder
from protocol.sd_notify import READY, STOPPING, feed_watchdog, notify
from protocol.settings import SettingsError
from protocol.weakness import NOT_CHECKED

log = logging.getLogger(__name__)

LOOK_FOR_COORDINATOR = 5.0
PAUSE_BETWEEN_JOINS = 5.0
LOOPBACK = ("127.0.0.1", "::1")

WITHOUT_CHECK = HealthCheckSettings.model_construct()
"""The times that hold where no check is configured: the same defaults."""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="ferryman-agent", description="The agent: one on each host."
    )
    parser.add_argument(
        "--config", type=Path, default=DEFAULT_CONFIG, metavar="FILE", help=f"{DEFAULT_CONFIG}"
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", description="Instead of the daemon:"
    )
    told = "Print what is weak in the settings and files, one line each"
    command = commands.add_parser("check", help=told, description=f"{told}.")
    command.add_argument("--config", type=Path, default=argparse.SUPPRESS, metavar="FILE")
    return parser.parse_args(argv)


def _look(config: Path) -> NoReturn:
    """Look for what is weak. Its libraries are loaded for it alone: the daemon does without."""
    from agent.weaknesses import check  # noqa: PLC0415

    try:
        sys.exit(check(config))
    except SettingsError as error:
        print(f"ferryman-agent: {error}", file=sys.stderr)
        sys.exit(NOT_CHECKED)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the agent until SIGTERM or SIGINT. Exits 1 with one line if it can't start."""
    options = _arguments(argv)
    if options.command == "check":
        _look(options.config)
    log_to_stderr()
    share_one_heap()
    try:
        config = load_config(options.config)
        write_as(config.log)
        with own_folder("state_dir", config.state_dir, "agent", 0o755):
            asyncio.run(_run_until_stopped(config))
    except (SettingsError, EnrollError, JournalError) as error:
        sys.exit(f"ferryman-agent: {error}")


async def _run_until_stopped(config: AgentConfig) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    parts = [
        asyncio.create_task(stopped.wait()),
        asyncio.create_task(run(config, ready=lambda: notify(READY))),
        asyncio.create_task(feed_watchdog(lambda: asyncio.sleep(0))),
    ]
    done, rest = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
    notify(STOPPING)
    for part in rest:
        part.cancel()
    await asyncio.wait(parts)
    for part in done:
        part.result()


async def run(
    config: AgentConfig, ready: Callable[[], object] = lambda: None, boot: str = ""
) -> None:
    """Serve the host for ever; cancelling leaves everything in hand to the next start.

    `ready` is called once what the last run left has been taken up. `boot` names the boot of
    the host, by default this one.
    """
    boot = boot or _this_boot()
    journal = Journal(config.state_dir / "journal")
    journal.open()
    dialogue = Dialogue()
    async with contextlib.AsyncExitStack() as stack:
        announcer = AgentAnnouncer(
            config.host_id, len(config.instances), interfaces=_interfaces(config)
        )
        await announcer.start()
        stack.push_async_callback(announcer.stop)
        source = PackageSource(config.package_ca_file, config.packages.terms())
        stack.push_async_callback(source.close)
        pins = Pins.open(config.state_dir / "pins.json")
        workers = {}
        for settings in config.instances:
            instance = make_instance(config, settings)
            worker = Worker(instance, journal, Preparer(source, pins), dialogue, boot)
            stack.push_async_callback(worker.stop)
            await worker.recover()
            workers[settings.id] = worker
        ready()
        identity = await _join(config)
        await announcer.joined()
        for weakness in walls.weaknesses():
            log.warning("%s", weakness)
        give_back_memory()
        renewal = Renewal(identity, new_key)
        stack.push_async_callback(renewal.stop)
        dialogue.attach(workers, journal.past, renewal, pins)
        if interval := config.packages.verify_interval:
            upkeep = Upkeep([worker.verifier for worker in workers.values()], interval)
            upkeep.start()
            stack.push_async_callback(upkeep.stop)
        connection = Connection(config.host_id, boot, dialogue)
        await connection.run(
            renewal.tls,
            lambda: find_url(config, renewal.believed),
            lambda url: why_not_ours(url, renewal.believed, config.state_dir),
        )


def _this_boot() -> str:
    """What changes with every boot; a container's only by its process 1, the kernel stays."""
    first = read_stat(1)
    return f"{boot_id()}.{first.start}" if first else boot_id()


def make_instance(config: AgentConfig, settings: InstanceSettings) -> Instance:
    """One instance with the driver and the check that its settings name."""
    times = settings.health_check or WITHOUT_CHECK
    hush = Hush(settings.environment)
    return Instance(
        instance_id=settings.id,
        service=settings.service,
        port=settings.port,
        address=settings.address or "",
        metadata=settings.metadata,
        releases=Releases(settings.release_root(config.state_dir)),
        driver=HushedDriver(_driver(config, settings), hush),
        check=HushedCheck(_check(settings), hush),
        check_interval=times.interval,
        check_timeout=times.timeout,
        check_stable=times.stable,
        keep_releases=config.keep_releases,
        started_by_agent=settings.driver == "process",
    )


def _driver(config: AgentConfig, settings: InstanceSettings) -> Driver:
    if settings.unit is not None:
        return SystemdDriver(settings.unit)
    return ProcessDriver(
        settings.id,
        settings.command or (),
        config.state_dir / "services" / settings.id,
        settings.environment,
        user=settings.user or "",
    )


def _check(settings: InstanceSettings) -> HealthCheck:
    check = settings.health_check
    if check is None:
        return RunningCheck()
    if check.http is not None:
        return HttpCheck(check.http)
    if check.tcp is not None:
        return TcpCheck(*parse_endpoint(check.tcp))
    told = {
        "FERRYMAN_SERVICE": settings.service,
        "FERRYMAN_INSTANCE_ID": settings.id,
        "PORT": str(settings.port),
    }
    environment = {**settings.environment, **told}
    return CommandCheck(check.command or (), environment, settings.user or "")


async def _join(config: AgentConfig) -> Identity:
    """The host's identity: the one on disk, or a new one by the join token."""
    tidy(config.state_dir)
    if (identity := Identity.load(config.state_dir)) is not None:
        if identity.host_id != config.host_id:
            raise SettingsError(
                f"host_id: this host joined as {identity.host_id}, the settings say "
                f"{config.host_id}; set it back, or empty {config.state_dir} to join anew"
            )
        return identity
    token = config.read_join_token()
    if token is None:
        return await _ask_to_join(config)
    digests = (JoinToken.parse(token).ca_digest,)
    if config.authority_sha256 not in (None, *digests):
        raise SettingsError("authority_sha256: the join token is of another coordinator")
    while True:
        try:
            url = await find_url(config, digests)
            return await enroll(config.state_dir, config.host_id, url, token)
        except ConnectionLostError as error:
            log.warning("can't join yet: %s", error)
        except EnrollError as error:
            if not error.passing:
                raise
            log.warning("can't join yet: %s", error)
        await asyncio.sleep(PAUSE_BETWEEN_JOINS)


async def _ask_to_join(config: AgentConfig) -> Identity:
    """Ask to be let in without a token, for as long as it takes."""
    approval = Approval(config.state_dir, config.host_id, config.authority_sha256 or "")
    while True:
        try:
            url = await find_url(config, approval.believed)
            if (identity := await approval.ask(url)) is not None:
                return identity
        except StrangerError as error:
            log.error("can't join: %s", error)
        except ConnectionLostError as error:
            log.warning("can't join yet: %s", error)
        except EnrollError as error:
            if not error.passing:
                raise
            log.warning("can't join yet: %s", error)
        await asyncio.sleep(approval.pause())


async def find_url(config: AgentConfig, ca_digests: Collection[str]) -> str:
    """Where the coordinator is: as configured, else as announced on the LAN.

    With no `ca_digests` any coordinator that is announced will do.
    """
    if config.coordinator is not None:
        return config.coordinator
    url = await find_coordinator(LOOK_FOR_COORDINATOR, ca_digests)
    if url is None:
        which = "coordinator of this authority" if ca_digests else "coordinator"
        raise ConnectionLostError(f"no {which} was found on the LAN by mDNS")
    return url


def _interfaces(config: AgentConfig) -> tuple[str, ...] | None:
    """Where to announce this agent: with a coordinator on loopback, nowhere else."""
    if config.coordinator is None:
        return None
    host, _ = parse_endpoint(config.coordinator.removeprefix("https://"))
    return (host,) if host in LOOPBACK else None
