"""`ferryman` as a person runs it, against a real coordinator, agent and package server."""

from __future__ import annotations

import asyncio
import json

import pytest

from protocol.models import InstanceQueryParams
from tests.e2e.conftest import System
from tests.parts.command_line import Ended, interrupted, on_terminal, piped
from tests.parts.service import service_package

INSTANCES = ("instance-1", "instance-2", "instance-3")
BALLAST = bytes(range(256)) * 4000


class CommandLine:
    """Runs the command against one system."""

    def __init__(self, system: System) -> None:
        self.system = system

    async def __call__(self, *arguments: str) -> Ended:
        return await asyncio.to_thread(piped, arguments, self.system.coordinator.environment())

    async def on_terminal(self, *arguments: str) -> Ended:
        where = self.system.coordinator.environment()
        return await asyncio.to_thread(on_terminal, arguments, where, columns=80)

    async def deploy(self, version: str, *options: str) -> Ended:
        return await self(*self.deploying(version), *options)

    def deploying(self, version: str) -> tuple[str, ...]:
        url = self.system.packages.url(f"user-service-{version}.tar.gz")
        return ("deploy", "user-service", version, "--package-url", url, "--id", f"go-{version}")

    def never_ends(self, version: str) -> asyncio.Event:
        """Offer a version whose download stands still until the event is set."""
        self.system.packages.put(
            f"user-service-{version}.tar.gz", service_package(version, ballast=BALLAST)
        )
        gate = asyncio.Event()
        self.system.packages.slow(f"user-service-{version}.tar.gz", chunk=500, gate=gate)
        return gate


@pytest.fixture
async def ferryman(system: System) -> CommandLine:
    checked = [system.http_instance(name, check={"timeout": 4}) for name in INSTANCES]
    await system.agent("host-a", *checked)
    return CommandLine(system)


async def versions(system: System) -> list[str]:
    shown = await system.client.get_service_instances(
        InstanceQueryParams(service_name="user-service")
    )
    return [row.version for row in shown.instances]


async def test_deploy_fail_and_roll_back(ferryman: CommandLine) -> None:
    system = ferryman.system
    system.put("v1")
    system.put("v2")
    system.put("v3", healthy=False)

    first = await ferryman.deploy("v1", "--all", "--wait")
    assert (first.code, first.out) == (0, "go-v1\n")
    assert "go-v1: user-service v1 completed in " in first.err
    assert "3 of 3 completed" in first.err
    assert await versions(system) == ["v1"] * 3

    shown = await ferryman.on_terminal(*ferryman.deploying("v2"), "--all")
    assert shown.code == 0
    assert shown.out.startswith("go-v2\r\n")
    assert all(name in shown.out for name in INSTANCES)
    assert "3 of 3 ended" in shown.out
    assert await versions(system) == ["v2"] * 3

    broken = await ferryman.deploy("v3", "--all", "--retry-count", "0", "--wait")
    assert (broken.code, broken.out) == (5, "go-v3\n")
    *_, counted, cause, fault = broken.err.splitlines()
    assert "0 of 3 completed, 3 failed" in counted
    assert cause.startswith("  3 instances, one cause: ")
    assert "answered 500" in cause
    assert "v2 was put back" in cause
    assert fault == "    the package's fault: 3 failed alike, none came through"
    assert await versions(system) == ["v2"] * 3
    assert (await ferryman("status", "go-v3")).code == 5

    await system.packages.stop()
    several = ("--instances", "instance-1,instance-2")
    back = await ferryman("rollback", "user-service", "v1", *several, "--wait")
    assert back.code == 0, back.err
    assert back.out.startswith("rollback-")
    again = await ferryman("rollback", "user-service", "v1", *several, "--wait")
    assert (again.code, again.out) == (7, "")
    assert "already runs v1" in again.err
    alone = await ferryman("rollback", "--instance", "instance-3", "v1", "--wait", "-o", "json")
    assert json.loads(alone.out)["rollback_type"] == "single"
    assert await versions(system) == ["v1"] * 3


async def test_waiting_no_longer_than_told_then_cancelling(ferryman: CommandLine) -> None:
    gate = ferryman.never_ends("v1")
    tired = await ferryman.deploy("v1", "--all", "--wait-timeout", "1s")
    assert (tired.code, tired.out) == (9, "go-v1\n")
    assert "ferryman cancel go-v1" in tired.err

    cancelled = await ferryman("cancel", "go-v1")
    assert cancelled.code == 0
    gate.set()
    ended = await ferryman("status", "go-v1", "--watch")
    assert ended.code == 6
    assert "3 instances cancelled, stopped before switch" in ended.out
    assert await versions(ferryman.system) == [""] * 3
    assert (await ferryman("cancel", "go-v1")).code == 7


async def test_ctrl_c_ends_the_waiting_and_not_the_deployment(ferryman: CommandLine) -> None:
    gate = ferryman.never_ends("v1")
    asked = ferryman.system.packages.requests
    ended = await asyncio.to_thread(
        interrupted,
        [*ferryman.deploying("v1"), "--all", "--wait"],
        ferryman.system.coordinator.environment(),
        lambda: len(asked) > 0,
    )
    assert (ended.code, ended.out) == (130, "go-v1\n")
    assert "ferryman status go-v1 --watch" in ended.err
    assert "Traceback" not in ended.err
    gate.set()
    assert (await ferryman("status", "go-v1", "--watch")).code == 0
    assert await versions(ferryman.system) == ["v1"] * 3


async def test_with_json_stdout_is_one_document_and_nothing_else(ferryman: CommandLine) -> None:
    ferryman.system.put("v1")
    told = await ferryman.deploy("v1", "--where", "host_id=host-a", "--wait", "-o", "json")
    assert told.code == 0
    assert json.loads(told.out)["status"] == "completed"
    assert told.err.startswith("go-v1\n")
    for command, key in (
        (("status", "go-v1"), "instances"),
        (("status",), "deployments"),
        (("versions", "user-service"), "version_summary"),
        (("instances", "user-service"), "instances"),
        (("history", "instance-1"), "history"),
        (("services",), "services"),
        (("hosts",), "hosts"),
        (("health",), "uptime"),
        (("stats",), "deployments"),
        (("token", "list"), "tokens"),
    ):
        said = await ferryman("-o", "json", *command)
        assert (said.code, said.err) == (0, "")
        assert key in json.loads(said.out)
    made = await ferryman("token", "create", "--role", "join")
    assert made.out.split()[-1].startswith("ferryman-join-1.")
    unknown = await ferryman("-o", "json", "history", "nobody")
    assert (unknown.code, unknown.out) == (3, "")
