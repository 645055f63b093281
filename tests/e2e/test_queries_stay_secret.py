"""A package URL's query may be a signature: the host keeps it nowhere, and tells it to nobody."""

from __future__ import annotations

import asyncio
from pathlib import Path

from protocol.states import TaskState
from tests.e2e.conftest import System
from tests.parts.daemons import AgentDaemon
from tests.parts.signing import Signer, comment_of
from tests.parts.waiting import until

MARK = "q1s3cretq"
QUERY = f"?X-Signature={MARK}"


def found_on(agent: AgentDaemon) -> list[Path]:
    """The files of the host that hold the mark; its arguments are such files, too."""
    mark = MARK.encode()
    files = [path for path in agent.state_dir.rglob("*") if path.is_file()]
    assert {"past.jsonl", "instance-1.json"} <= {path.name for path in files}
    processes = [Path(f"/proc/{agent.pid}/{name}") for name in ("cmdline", "environ")]
    places = [*files, agent.log, *processes]
    return [path for path in places if mark in path.read_bytes() or mark in bytes(path)]


async def test_a_marked_query_is_in_no_file_log_or_report_of_a_host(system: System) -> None:
    signer = Signer()
    rules = {"trusted_keys": [signer.public], "allowed_hosts": ["127.0.0.1"]}
    agent = await system.agent("host-a", "instance-1", packages=rules)
    server = system.packages
    told: list[str] = []

    def put(version: str, *, signed: bool = True) -> str:
        url = system.put(version)
        name = url.rpartition("/")[2]
        signature = signer.sign(system.package(version), comment_of("user-service", version))
        if signed:
            server.put(f"{name}.minisig", signature)
        return url + QUERY

    async def failed(version: str, url: str) -> None:
        seen = await system.deployed(version, ["instance-1"], url=url, retry_count=0)
        assert seen.status is TaskState.FAILED
        told.append(seen.instances[0].error_message)

    # The agent is killed while the package comes in.
    gate = asyncio.Event()
    url = put("v1")
    server.slow("user-service-v1.tar.gz", chunk=100, gate=gate)
    deploy_id = await system.deploy("v1", ["instance-1"], url=url)
    await until(lambda: len(server.requests) == 2)
    journal = agent.state_dir / "journal/instance-1.json"
    assert deploy_id in journal.read_text()
    assert MARK not in journal.read_text()
    await agent.kill()
    await agent.return_to_work()
    gate.set()
    assert (await system.ended(deploy_id)).status is TaskState.COMPLETED

    server.redirect("elsewhere.tar.gz", f"https://localhost:1/v2.tar.gz{QUERY}")
    server.redirect("plain.tar.gz", f"http://127.0.0.1/v2.tar.gz{QUERY}")
    for name in ("elsewhere", "plain", "missing"):
        beside = signer.sign(b"", comment_of("user-service", "v2"))
        server.put(f"{name}.tar.gz.minisig", beside)
        await failed("v2", server.url(f"{name}.tar.gz") + QUERY)
    await failed("v2", put("v2", signed=False))
    server.fail("user-service-v3.tar.gz", 500)
    await failed("v3", put("v3"))
    server.truncate("user-service-v4.tar.gz", at=0, times=9)
    await failed("v4", put("v4"))
    await failed("v5", f"https://localhost:{server.port}/v5.tar.gz{QUERY}")
    await server.stop()
    await failed("v6", put("v6"))

    assert len(set(told)) == len(told) == 8
    assert MARK not in str(told)
    assert found_on(agent) == []
