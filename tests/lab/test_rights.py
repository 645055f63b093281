"""The shipped units have only the rights that they need, and deploy with them: seen in a host.

Two ways to run the agent: as a root with four capabilities, for both drivers, and as a user of
its own that polkit lets manage the listed units.
"""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from protocol.models import BatchRollbackParams
from protocol.states import TaskState
from tests.lab.commands import Result
from tests.lab.fleet import AGENT, COORDINATOR, STATE, FleetOnHosts, fleet_on_hosts, main_pid
from tests.lab.host import SystemdHost
from tests.lab.needs import need_hosts, need_programs

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="module")]

ROOT, OWN_USER = "root", "own-user"
TO_BECOME_ANOTHER_USER = 1 << 0 | 1 << 5 | 1 << 6 | 1 << 7
"""CAP_CHOWN, CAP_KILL, CAP_SETGID, CAP_SETUID."""

REFUSED = (
    "systemctl stop stranger.service",
    "systemctl restart stranger.service",
    "systemctl kill user-service.service",
    "systemctl set-property user-service.service MemoryMax=1G",
    "systemctl mask user-service.service",
    "systemctl daemon-reload",
    "systemd-run --unit=mine.service /bin/true",
)
"""What would lead further than to the listed units' start and stop."""

STRANGER = """
[Service]
ExecStart=/bin/sleep infinity
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[ROOT, OWN_USER])
async def fleet(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[FleetOnHosts]:
    need_hosts()
    if request.param == OWN_USER:
        need_programs("pkaction")
    folder = tmp_path_factory.mktemp("rights")
    async with fleet_on_hosts(folder, "a", own_user=request.param == OWN_USER) as fleet:
        yield fleet


def is_root(fleet: FleetOnHosts) -> bool:
    return "command-a" in fleet.instances


async def status_of(host: SystemdHost, unit: str) -> dict[str, str]:
    """What the kernel says of a unit's main process."""
    text = (await host.run("cat", f"/proc/{await main_pid(host, unit)}/status")).output
    return {
        name: value.strip() for name, _, value in (row.partition(":") for row in text.splitlines())
    }


async def test_no_daemon_has_a_right_but_those_that_are_promised(fleet: FleetOnHosts) -> None:
    for host, unit in ((fleet.coordinator, COORDINATOR), (fleet.agents["a"], AGENT)):
        root = unit == AGENT and is_root(fleet)
        status = await status_of(host, unit)
        sets = {name: int(status[name], 16) for name in status if name.startswith("Cap")}
        assert len(sets) == 5
        most = TO_BECOME_ANOTHER_USER if root else 0
        assert all(found in (0, most) for found in sets.values()), (unit, sets)
        assert sets["CapAmb"] == sets["CapInh"] == 0
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert (status["Uid"].split()[0] == "0") is root, unit


async def test_deployed_upgraded_put_back_and_rolled_back_with_these_rights(
    fleet: FleetOnHosts,
) -> None:
    await fleet.everywhere("v1")
    await fleet.everywhere("v2")
    broken = fleet.put("v3", crash_after=0.0)
    failed = await fleet.deployed("v3", fleet.instances, url=broken)
    for part in failed.instances:
        assert "fatal: out of ideas" in part.error_message
        assert part.error_message.endswith("v2 was put back")
    assert await fleet.answers() == {"v2"}
    params = BatchRollbackParams(
        service="user-service", target_version="v1", instances=fleet.instances
    )
    rollback = await fleet.rolled_back((await fleet.client.rollback_batch(params)).rollback_id)
    assert rollback.status is TaskState.COMPLETED, rollback
    assert await fleet.answers() == {"v1"}


async def test_a_refused_package_leaves_nothing_whoever_unpacked_it(fleet: FleetOnHosts) -> None:
    await fleet.everywhere("v1")
    members = [("folder/deep/file", bytes(10_000_000)), ("folder/../../outside", b"not so")]
    url = fleet.packages.put("user-service-bad.tar.gz", gzip.compress(tar_of(members)))
    ended = await fleet.deployed("v9", fleet.instances, url=url)
    for part in ended.instances:
        assert "package refused" in part.error_message, part
        (name,) = [one for one in fleet.instances if one == part.instance_id]
        assert not [one for one in files_of(fleet, name) if one.startswith(".staging")]
    assert await fleet.answers() == {"v1"}
    said = await fleet.agents["a"].run("journalctl", "-u", AGENT, "-o", "cat", "--no-pager")
    assert "packages are unpacked as root" not in said.output
    assert "can't remove" not in said.output


def files_of(fleet: FleetOnHosts, instance_id: str) -> list[str]:
    root = "/srv/user-service" if instance_id == "unit-a" else f"{STATE}/instances/{instance_id}"
    return [path.name for path in (fleet.agents["a"].files(root) / "releases").iterdir()]


def tar_of(members: list[tuple[str, bytes]]) -> bytes:
    """An archive with these names, whatever they are."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


async def test_check_says_what_is_left_to_do_on_hosts_installed_as_the_docs_say(
    fleet: FleetOnHosts,
) -> None:
    daemon = "/opt/ferryman/bin/ferryman-coordinator"
    config = ("--config", "/etc/ferryman/coordinator.toml")
    done = await fleet.coordinator.run(daemon, "check", *config, check=False)
    assert (done.status, done.output, done.error) == (0, "nothing weak found\n", "")

    done = await fleet.agents["a"].run("/opt/ferryman/bin/ferryman-agent", "check", check=False)
    assert (done.status, done.error) == (1, "")
    told = done.output.splitlines()
    expected = [
        "join_token_file: /etc/ferryman/join.token: this host has joined",
        "packages.trusted_keys: there are none",
        "packages.allowed_hosts: it is not set",
        "instances: unit-a: user-service.service runs as root",
    ]
    if is_root(fleet):
        expected.append("instances: command-a: the agent is root, and so are the services")
    assert len(told) == len(expected), told
    for line, beginning in zip(told, expected, strict=True):
        assert line.startswith(beginning)


@pytest.mark.parametrize("fleet", [OWN_USER], indirect=True)
async def test_an_agent_without_root_can_manage_the_listed_units_and_nothing_else(
    fleet: FleetOnHosts,
) -> None:
    await fleet.everywhere("v1")  # by which polkit was asked, and runs
    host = fleet.agents["a"]
    await host.install_unit("stranger.service", STRANGER)
    await host.run("systemctl", "start", "stranger.service")
    stranger = await main_pid(host, "stranger.service")
    units_before = (await host.run("systemctl", "list-units", "--plain", "--no-legend")).output

    for words in REFUSED:
        refused = await as_agent(host, *words.split())
        assert refused.status != 0, words
        assert "nteractive authentication required" in refused.error, (words, refused.error)
    assert await main_pid(host, "stranger.service") == stranger
    units_after = (await host.run("systemctl", "list-units", "--plain", "--no-legend")).output
    assert names(units_after) - names(units_before) == set()

    allowed = await as_agent(host, "systemctl", "stop", "user-service.service")
    assert (allowed.status, await main_pid(host, "user-service.service")) == (0, 0)
    allowed = await as_agent(host, "systemctl", "start", "user-service.service")
    assert allowed.status == 0


async def as_agent(host: SystemdHost, *words: str) -> Result:
    """Run a command as the agent's user, outside its unit's sandbox."""
    user = ("setpriv", "--reuid=ferryman-agent", "--regid=ferryman-agent", "--init-groups")
    return await host.run(*user, *words, check=False)


def names(listed: str) -> set[str]:
    return {line.split()[0] for line in listed.splitlines() if line.strip()}
