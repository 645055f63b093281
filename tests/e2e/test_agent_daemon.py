"""`ferryman-agent` from the command line: every start that can't be says why in one line."""

from __future__ import annotations

from pathlib import Path

from protocol.access import TokenParams
from protocol.states import TaskState
from tests.e2e.conftest import System
from tests.parts.daemons import BIN, AgentDaemon, CoordinatorDaemon, connected, write_json
from tests.parts.run import Ended, run
from tests.parts.waiting import until

DAEMON = str(BIN / "ferryman-agent")


def only_line(ended: Ended) -> str:
    """What it said: one line for people, and status 1."""
    assert ended.status == 1, ended
    assert "Traceback" not in ended.err
    assert ended.out == ""
    (line,) = ended.err.splitlines()
    assert line.startswith("ferryman-agent: ")
    return line


async def test_settings_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    head = f'host_id = "h"\nstate_dir = "{tmp_path / "state"}"\n'

    async def start(text: str) -> str:
        config.write_text(head + text)
        return only_line(await run(DAEMON, "--config", str(config)))

    unknown = await start('cordinator = "https://127.0.0.1:1"\n')
    assert f"{config}: cordinator: not a known setting; did you mean coordinator?" in unknown
    inner = await start('[[instances]]\nid = "i"\nservice = "s"\ndriver = "process"\nuint = "u"\n')
    assert "instances[0].uint: not a known setting" in inner
    assert not (tmp_path / "state").exists(), "nothing was made"

    malformed = await start('coordinator = "https://127.0.0.1:1"\njoin_token = "my-secret"\n')
    assert "the join token is malformed: it must be ferryman-join-1." in malformed
    assert "my-secret" not in malformed
    no_digest = await start('authority_sha256 = "abc"\n')
    assert "authority_sha256: must be a SHA-256 as 64 lower-case hex digits" in no_digest
    no_file = await start(f'join_token_file = "{tmp_path / "absent"}"\n')
    assert f"join_token_file: {tmp_path / 'absent'} cannot be read: No such file" in no_file


async def test_a_coordinator_that_is_not_the_tokens_gets_no_secret(system: System) -> None:
    right = await system.coordinator.join_token()
    head, _, secret = right.rpartition(".")
    foreign = f"{head.rpartition('.')[0]}.{'0' * 64}.{secret}"

    line = await refused(system, foreign)

    assert f"{system.coordinator.url} is not the coordinator of the join token" in line
    assert line.endswith("No secret was sent")
    assert secret not in line
    assert secret not in system.coordinator.said()


async def test_a_refused_token_ends_the_agent(system: System) -> None:
    right = await system.coordinator.join_token()
    head, _, _ = right.rpartition(".")
    guessed = await refused(system, f"{head}.{'A' * 43}")
    assert f"{system.coordinator.url}" in guessed
    assert "the join token was refused: the token is not known here" in guessed

    created = await system.client.create_token(TokenParams(role="join", ttl=3600))
    await system.client.revoke_token(created.token_id)
    assert "the join token was refused: the token was revoked" in await refused(
        system, created.secret
    )
    assert (await system.client.list_hosts()).total == 0


async def refused(system: System, token: str) -> str:
    agent = agent_with(system.folder, system.coordinator, token)
    line = only_line(await run(DAEMON, "--config", str(agent.config)))
    assert token not in line
    assert not (agent.state_dir / "agent.pem").exists()
    return line


async def test_field_note_17_a_second_agent_on_the_same_state_is_refused(system: System) -> None:
    agent = await system.agent("host-a", "instance-1")

    line = only_line(await run(DAEMON, "--config", str(agent.config)))

    assert line == f"ferryman-agent: state_dir: {agent.state_dir} is used by another agent"


async def test_with_json_every_line_that_it_writes_is_an_event(system: System) -> None:
    agent = AgentDaemon(
        system.folder,
        "host-j",
        [system.http_instance("instance-1")],
        coordinator=system.coordinator.url,
        join_token=await system.coordinator.join_token(),
        package_ca_file=system.packages.ca_file,
    )
    write_json(agent.config)
    async with agent:
        await connected(system.client, "instance-1")
        url = system.packages.put("user-service-v1.tar.gz", b"no archive\x1b[2K")
        failed = await system.deployed("v1", ["instance-1"], url=url)
        assert failed.status is TaskState.FAILED
        await system.coordinator.kill()
        await system.coordinator.start()
        await until(lambda: agent.said().count("connected to ") > 1)
        assert await agent.stop() == 0
    events = agent.events()
    assert {(event["level"], event["module"]) for event in events} >= {
        ("info", "agent.connection"),
        ("warning", "agent.connection"),
    }
    assert all({"time", "level", "module", "message"} <= event.keys() for event in events)


def agent_with(folder: Path, coordinator: CoordinatorDaemon, token: str) -> AgentDaemon:
    return AgentDaemon(folder, "host-x", [], coordinator=coordinator.url, join_token=token)
