"""Marked secrets on real hosts: not in the journal, in no unit's properties, arguments or files.

What a service prints itself is in the journal of its own unit, and is left out here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex

import pytest

from protocol.states import TaskState
from tests.lab.fleet import AGENT, COORDINATOR, STATE, FleetOnHosts, fleet_on_hosts
from tests.lab.host import SystemdHost
from tests.lab.needs import need_hosts
from tests.parts.canary import Canaries, Finding, open_files, private_part, token_part
from tests.parts.daemons import connected
from tests.parts.packages import tar_gz

CHOSEN = {name: f"canary-{name}-{token_hex(8)}" for name in ("environment", "signature")}
"""The secrets that a test can choose; tokens and keys are made by the daemons."""

TELLS_ALL = '#!/bin/sh\necho "starting with $PASSWORD"\nexit 3\n'
FOLDERS = ("etc", "srv", "opt/ferryman", "var/lib")
"""Where a host keeps things; its programs are this machine's."""

pytestmark = pytest.mark.lab


async def test_no_host_shows_a_secret_to_others(tmp_path: Path) -> None:
    need_hosts()
    async with fleet_on_hosts(tmp_path, "a") as fleet:
        host = fleet.agents["a"]
        config = host.files("/etc/ferryman/agent.toml")
        secret = CHOSEN["environment"]
        told = config.read_text().replace(
            "environment = {", f'environment = {{ PASSWORD = "{secret}",'
        )
        assert secret in told
        config.write_text(told)
        await host.run("systemctl", "restart", AGENT)
        await connected(fleet.client, *fleet.instances)

        signed = f"{fleet.put('v1')}?sig={CHOSEN['signature']}"
        done = await fleet.deployed("v1", fleet.instances, url=signed)
        assert done.status is TaskState.COMPLETED, done
        package = tar_gz({"bin/server": (TELLS_ALL.encode(), 0o755)})
        broken = fleet.packages.put("user-service-v2.tar.gz", package)
        failed = await fleet.deployed(
            "v2", ["command-a"], url=f"{broken}?sig={CHOSEN['signature']}"
        )
        assert "starting with $PASSWORD" in failed.instances[0].error_message
        await host.run("systemctl", "restart", AGENT)
        await connected(fleet.client, *fleet.instances)

        secrets = {**CHOSEN, **made_by_daemons(fleet, host)}
        for where in (host, fleet.coordinator):
            assert await found_on(where, secrets) == set(), where.name

        # What is planted is found: the search looks where it says.
        everything = " ".join(secrets.values())
        await host.run("systemd-run", f"--setenv=SECRETS={everything}", "sleep", "300")
        host.write("/var/lib/left-open", everything)
        await host.run("systemd-cat", "--identifier=stranger", "echo", everything)
        await host.run("journalctl", "--sync")
        places = ("properties of units", "var/lib/left-open (644)", "journal")
        assert await found_on(host, secrets) == {
            (place, name) for place in places for name in secrets
        }


def made_by_daemons(fleet: FleetOnHosts, host: SystemdHost) -> dict[str, str]:
    """What of the tokens and private keys on the hosts is secret."""
    data = fleet.coordinator.files("/var/lib/ferryman")
    keys = {
        "agent's key": host.files(f"{STATE}/agent.pem"),
        "authority's key": data / "ca.key",
        "server's key": data / "server.key",
    }
    tokens = {
        "admin token": data / "admin.token",
        "join token": host.files("/etc/ferryman/join.token"),
    }
    return {name: private_part(file.read_text()) for name, file in keys.items()} | {
        name: token_part(file.read_text()) for name, file in tokens.items()
    }


async def found_on(host: SystemdHost, secrets: Mapping[str, str]) -> set[Finding]:
    """Where on the host somebody without rights finds a secret."""
    own = "ferryman-instance-command-a.service"
    told = "journalctl --output=json --all --no-pager"
    entries = await host.run("sh", "-c", f'{told} | grep -v \'"_SYSTEMD_UNIT":"{own}"\'')
    shown = await host.run("systemctl", "show", "*", "--all")
    files = await host.run("sh", "-c", "cat /run/systemd/transient/*", check=False)
    processes = await host.run("sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    places = [
        ("journal", entries.output.encode()),
        ("properties of units", shown.output.encode() + files.output.encode()),
        ("arguments", processes.output.encode()),
    ]
    for folder in FOLDERS:
        root = host.files(folder)
        if root.is_dir():
            places += [(f"{folder}/{name}", data) for name, data in open_files(root)]
    assert COORDINATOR in entries.output or AGENT in entries.output
    return Canaries(secrets).found(places)
