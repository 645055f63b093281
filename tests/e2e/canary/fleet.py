"""What happens to hosts: one comes in by approval, trusts keys for packages, logs JSON and is
revoked; the authority is rotated, so that all renew their certificates; both daemons crash.
"""

from __future__ import annotations

from protocol.access import AuthorityStatus
from protocol.states import TaskState
from tests.e2e.canary.commands import ask_by
from tests.e2e.canary.planted import Run
from tests.parts.daemons import AgentDaemon, connected, write_json
from tests.parts.signing import Signer, comment_of
from tests.parts.waiting import until


async def come_in_by_approval(run: Run) -> None:
    """host-b asks, is rejected, is approved after all, and takes only what is signed."""
    system, signer = run.system, Signer()
    agent = AgentDaemon(
        system.folder,
        "host-b",
        [system.http_instance("instance-3")],
        coordinator=system.coordinator.url,
        join_token="",
        package_ca_file=system.packages.ca_file,
        packages={"trusted_keys": [signer.public], "allowed_hosts": ["127.0.0.1"]},
    )
    write_json(agent.config)
    run.agents.append(agent)
    run.stack.push_async_callback(agent.stop_services)
    await run.stack.enter_async_context(agent)

    async def known() -> bool:
        hosts = (await system.client.list_hosts(limit=1000)).hosts
        return any(row.host_id == "host-b" and row.fingerprint for row in hosts)

    await until(known)
    await ask_by(run, "host list", "host reject")
    await until(lambda: "rejected this host" in agent.said())
    await ask_by(run, "host approve")
    await connected(system.client, "instance-3")
    run.know_key("host-b's key", agent.state_dir / "agent.pem")

    signature = signer.sign(system.package("v1"), comment_of("user-service", "v1"))
    system.packages.put("user-service-v1.tar.gz.minisig", signature)
    done = await system.deployed("v1", ["instance-3"], url=run.signed("v1"))
    assert done.status is TaskState.COMPLETED, done
    unsigned = await system.deployed("v2", ["instance-3"], url=run.signed("v2"))
    assert unsigned.status is TaskState.FAILED
    assert "no signature" in unsigned.instances[0].error_message
    run.see("an unsigned package", unsigned.model_dump_json())


async def rotate_the_authority(run: Run) -> None:
    """All three steps; every host renews its certificate on the way."""
    data = run.system.coordinator.data_dir
    await ask_by(run, "authority status", "authority begin")
    run.know_key("next ca key", data / "ca.next.key")
    await hosts_are_ready(run)
    await ask_by(run, "authority switch", "authority bundle")
    await hosts_are_ready(run)
    for agent in run.agents:
        run.know_key(f"{agent.host_id}'s renewed key", agent.state_dir / "agent.pem")
    await ask_by(run, "authority finish", "authority abort")
    run.know_key("next server key", data / "server.key")
    client = run.system.coordinator.client()
    run.system.client = await run.stack.enter_async_context(client)


async def hosts_are_ready(run: Run) -> None:
    """Wait until no host stands in the way of the next step."""

    async def status() -> AuthorityStatus:
        async with run.system.coordinator.client() as client:
            return await client.authority_status()

    await until(status, lambda seen: not seen.unready)


async def crash_and_come_back(run: Run) -> None:
    """Both daemons are killed; the coordinator logs JSON from then on."""
    await run.agent.kill()
    await run.system.coordinator.kill()
    write_json(run.system.coordinator.config)
    await run.system.coordinator.start()
    await run.agent.return_to_work()
    ended = await run.system.deployed("v2", ["instance-1", "instance-2"], url=run.signed("v2"))
    assert ended.status is TaskState.COMPLETED


async def turn_out(run: Run) -> None:
    """host-b is revoked, and its instance released."""
    await ask_by(run, "host revoke", "instance release")
    await until(lambda: "host-b was revoked on" in run.agents[1].said())
