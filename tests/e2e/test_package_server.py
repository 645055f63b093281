"""What package servers do wrong: each time a reason of its own, and the old version serves.

A client asks the old version all the time: it must not see one failed request, since none
of these deployments gets as far as the switch.
"""

from __future__ import annotations

from contextlib import AsyncExitStack

from protocol.models import DeployStatus
from protocol.states import Phase, TaskState
from tests.e2e.conftest import System
from tests.parts.packages import sha256
from tests.parts.service import service_package
from tests.parts.waiting import until


def reason(task: DeployStatus) -> str:
    (part,) = task.instances
    assert part.phase is Phase.FAILED, task
    return part.error_message


async def test_each_fault_has_its_own_reason_and_the_old_version_never_stops(
    system: System,
) -> None:
    agent = await system.agent("host-a", "instance-1")
    await system.deployed("v1", ["instance-1"])
    serving, on_disk = agent.service_pids("instance-1"), agent.release_names("instance-1")
    server = system.packages
    good = service_package("v2", ballast=bytes(range(256)) * 4000)
    reasons: dict[str, str] = {}

    async def try_it(name: str, url: str, **options: str) -> None:
        task = await system.deploy("v2", ["instance-1"], url=url, deploy_id=name, **options)
        reasons[name] = reason(await system.ended(task))

    async with system.steady_client("instance-1") as client:
        await try_it("missing", server.url("nowhere.tar.gz"))
        await try_it("short", server.put("short.tar.gz", good[:-500]))
        server.truncate("cut.tar.gz", at=0, times=9)
        await try_it("cut", server.put("cut.tar.gz", good))
        await try_it("page", server.put("page.tar.gz", b"<html>please log in</html>"))
        await try_it("other", server.put("other.tar.gz", good), sha256=sha256(b"another"))
        server.redirect("redirect.tar.gz", "http://127.0.0.1:1/v2.tar.gz?signature=secret")
        await try_it("redirect", server.url("redirect.tar.gz"))
        server.fail("broken.tar.gz", 500)
        await try_it("broken", server.url("broken.tar.gz"))
        asked = len(client.answers)
        await until(lambda: len(client.answers) > asked)

    assert client.failed == 0, f"{client.failed} of {len(client.answers)} requests failed"
    assert set(client.answers) == {"v1"}
    assert agent.service_pids("instance-1") == serving
    assert agent.release_names("instance-1") == on_disk, "no rubbish"
    said = {
        "missing": "nowhere.tar.gz: the server answered 404",
        "short": "package refused: the compressed data ends in the middle",
        "cut": "cut.tar.gz: broke off after 0 of",
        "page": "package refused: ",
        "other": f"package changed: expected sha256 {sha256(b'another')}, got {sha256(good)}",
        "redirect": "redirects to http://127.0.0.1:1/v2.tar.gz, which is not https: refused",
        "broken": "broken.tar.gz: the server answered 500",
    }
    for name, part in said.items():
        assert part in reasons[name], (name, reasons[name])
    assert len(set(reasons.values())) == len(reasons)
    assert "secret" not in str(reasons), "a URL's query may be a signature"


async def test_a_server_that_recovers_is_asked_again_and_a_break_is_resumed(
    system: System,
) -> None:
    agent = await system.agent("host-a", "instance-1")
    url = system.put("v1")
    name = "user-service-v1.tar.gz"
    system.packages.fail(name, 500, 500)

    first = await system.deployed("v1", ["instance-1"], url=url, retry_count=3)

    assert first.status is TaskState.COMPLETED, first
    assert first.instances[0].attempt == 3
    assert first.instances[0].error_message == ""
    assert [one.status for one in system.packages.requests] == [500, 500, 200]

    url = system.put("v2", ballast=bytes(range(256)) * 4000)
    system.packages.truncate("user-service-v2.tar.gz", at=700)
    second = await system.deployed("v2", ["instance-1"], url=url)

    assert second.status is TaskState.COMPLETED, second
    assert second.instances[0].attempt == 1, "a break costs no attempt"
    assert [one.status for one in system.packages.requests[3:]] == [200, 206]
    assert await system.serving("instance-1") == "v2"
    assert agent.versions_on_disk("instance-1") == {"v1", "v2"}


async def test_field_note_21_other_bytes_on_the_second_host_fail_there(system: System) -> None:
    for host in ("a", "b"):
        await system.agent(f"host-{host}", f"instance-{host}")
    names = ["instance-a", "instance-b"]
    await system.deployed("v1", names)
    bodies = [service_package("v2"), service_package("v2", ballast=b"rebuilt")]
    url = system.put("v2")
    system.packages.vary("user-service-v2.tar.gz", bodies)

    async with AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(system.steady_client(name)) for name in names
        }
        ended = await system.deployed("v2", names, url=url, retry_count=3)

    assert ended.status is TaskState.FAILED
    assert (ended.progress.completed, ended.progress.failed) == (1, 1)
    assert ended.digest in {sha256(body) for body in bodies}
    for part in ended.instances:
        if part.phase is Phase.COMPLETED:
            assert await system.serving(part.instance_id) == "v2"
        else:
            assert part.error_message.startswith("package changed: ")
            assert part.attempt == 1, "other bytes stay other bytes: no second attempt"
            assert set(clients[part.instance_id].answers) == {"v1"}, "it serves throughout"
            assert await system.serving(part.instance_id) == "v1"
            assert system.agents[f"host-{part.instance_id[-1]}"].current(part.instance_id) == "v1"
