"""`ferryman-agent check`: what is weak in an agent's settings and files on this host.

It only reads, needs no lock, and works while the agent runs. It asks systemd as whom a unit
runs, where there is a systemd. What it can't know: what a unit's own settings allow, and the
coordinator's side.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from agent import walls
from agent.config import AgentConfig, InstanceSettings, load_config
from agent.identity import AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE
from protocol.endpoints import is_loopback, parse_endpoint
from protocol.weakness import (
    OTHERS,
    Weakness,
    ending,
    owned,
    readable,
    report,
    writable,
)

ROOT = 0
EARLY = timedelta(days=7)
AUTHORITY_EARLY = timedelta(days=365)
"""How long before its end a certificate is weak."""

_RUNS = "what runs on this host"


def check(config: Path) -> int:
    """Print what is weak; return the exit code. Raises `SettingsError` for bad settings."""
    settings = load_config(config)
    return report([*weaknesses(settings, config, datetime.now(UTC)), *of_walls()])


def weaknesses(settings: AgentConfig, config: Path, now: datetime) -> list[Weakness]:
    """All that is weak at the moment `now`, but for what the host itself lacks."""
    instances = settings.instances
    return list(
        chain(
            _of_config(settings, config),
            _of_join_token(settings),
            _of_state(settings, now),
            _of_packages(settings, now),
            chain.from_iterable(_of_instance(settings, one) for one in instances),
            _of_root(settings),
        )
    )


def of_walls() -> list[Weakness]:
    """What this host lacks to unpack packages without rights."""
    remedy = "see `Who unpacks it` in docs/packages.md"
    return [Weakness("agent", missing, remedy) for missing in walls.weaknesses()]


def _agent_users(settings: AgentConfig) -> set[int]:
    """Root, and the user that the agent's state belongs to."""
    state = settings.state_dir
    return {ROOT, state.stat().st_uid} if state.exists() else {ROOT}


def _of_config(settings: AgentConfig, config: Path) -> Iterator[Weakness]:
    yield from writable(config, _RUNS)
    yield from owned(config, _agent_users(settings), _RUNS)
    if settings.join_token is not None or any(one.environment for one in settings.instances):
        yield from readable(config, OTHERS)


def _of_join_token(settings: AgentConfig) -> Iterator[Weakness]:
    file = settings.join_token_file
    joined = (settings.state_dir / CERTIFICATE_FILE).exists()
    if settings.join_token is not None and joined:
        yield Weakness("join_token", "this host has joined and needs it no more", "remove it")
    if file is None or not file.exists():
        return
    if joined:
        remedy = f"rm {file}"
        yield Weakness(
            f"join_token_file: {file}", "this host has joined and needs it no more", remedy
        )
    yield from readable(file)


def _of_state(settings: AgentConfig, now: datetime) -> Iterator[Weakness]:
    state = settings.state_dir
    yield from writable(state, _RUNS)
    for secret in (CERTIFICATE_FILE, KEY_FILE):
        yield from readable(state / secret)
    for environment in sorted(state.glob("services/*/environment")):
        yield from readable(environment)
    renew = "look in both logs why it is not renewed, or join again"
    yield from _of_certificate(state / CERTIFICATE_FILE, now, EARLY, renew)
    yield from _of_certificate(
        state / AUTHORITY_FILE, now, AUTHORITY_EARLY, "make a new authority at the coordinator"
    )


def _of_packages(settings: AgentConfig, now: datetime) -> Iterator[Weakness]:
    if not settings.packages.trusted_keys:
        yield Weakness(
            "packages.trusted_keys",
            "there are none: whoever holds the coordinator decides what runs on this host",
            "sign packages, and name the key here",
        )
    if settings.packages.allowed_hosts is None:
        yield Weakness(
            "packages.allowed_hosts",
            "it is not set: packages may come from anywhere, and from the host's own network",
            "name the package servers",
        )
    yield from _of_package_authorities(settings, now)


def _of_package_authorities(settings: AgentConfig, now: datetime) -> Iterator[Weakness]:
    file = settings.package_ca_file
    if file is None:
        return
    where = f"package_ca_file: {file}"
    yield from writable(file, "which package servers are believed")
    yield from owned(file, _agent_users(settings), "which package servers are believed")
    try:
        found = x509.load_pem_x509_certificates(file.read_bytes())
    except OSError as error:
        yield Weakness(where, f"cannot be read: {error.strerror or error}", "put it there")
    except ValueError:
        yield Weakness(where, "holds no certificate in PEM", "put the authority there")
    else:
        for certificate in found:
            ends = certificate.not_valid_after_utc
            yield from ending(file, ends, now, timedelta(days=30), "put the new authority there")


def _of_certificate(file: Path, now: datetime, early: timedelta, remedy: str) -> Iterator[Weakness]:
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or "holds no certificate in PEM"
        yield Weakness(str(file), said, "put it back from a backup, or join again")
        return
    yield from ending(file, certificate.not_valid_after_utc, now, early, remedy)


def _of_instance(settings: AgentConfig, instance: InstanceSettings) -> Iterator[Weakness]:
    root = instance.release_root(settings.state_dir)
    for folder in (root, root / "releases"):
        yield from writable(folder, f"what {instance.id} runs")
        yield from owned(folder, _agent_users(settings), f"what {instance.id} runs")
    yield from _of_health_check(instance)
    if instance.unit is not None and _user_of(instance.unit) in ("", "root", "0"):
        yield Weakness(
            f"instances: {instance.id}",
            f"{instance.unit} runs as root: whatever is deployed there can do anything",
            "give the unit a User= of its own",
        )


def _of_health_check(instance: InstanceSettings) -> Iterator[Weakness]:
    check = instance.health_check
    if check is None:
        return
    plain = ""
    if check.http is not None and check.http.startswith("http://"):
        plain = urlsplit(check.http).hostname or ""
    elif check.tcp is not None:
        plain = parse_endpoint(check.tcp)[0]
    if plain and not is_loopback(plain):
        yield Weakness(
            f"instances: {instance.id}: health_check",
            f"{check.http or check.tcp} goes over the network unprotected: who is in between "
            "decides what counts as healthy",
            "ask the service on a loopback address, or by https",
        )


def _of_root(settings: AgentConfig) -> Iterator[Weakness]:
    state, instances = settings.state_dir, settings.instances
    if not state.exists() or state.stat().st_uid != ROOT:
        return
    commands = [one.id for one in instances if one.driver == "process" and one.user is None]
    if commands:
        yield Weakness(
            f"instances: {', '.join(commands)}",
            "the agent is root, and so are the services that it starts itself (driver process)",
            "name a `user` for each",
        )
    elif instances and all(one.driver == "systemd" for one in instances):
        yield Weakness(
            "agent",
            "it runs as root, and all its instances have the driver systemd, which can do without",
            "see `Without root` in docs/operations.md",
        )


def _user_of(unit: str) -> str | None:
    """As whom systemd runs a unit, "" if the unit does not say; None if that is not known."""
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        return None
    asked = subprocess.run(
        [systemctl, "show", "--property=LoadState,User,DynamicUser", "--", unit],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    said = dict(line.partition("=")[::2] for line in asked.stdout.splitlines())
    if said.get("LoadState") != "loaded" or said.get("DynamicUser") == "yes":
        return None
    return said.get("User", "")
