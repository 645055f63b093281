"""The daemons for real: damage is found in the background, told, and known after a kill."""

from __future__ import annotations

from tests.e2e.conftest import System
from tests.parts.waiting import until


async def test_damage_is_found_in_the_background_and_told(system: System) -> None:
    agent = await system.agent("host-a", "instance-1", packages={"verify_interval": 0.1})
    for version in ("v1", "v2"):
        await system.deployed(version, ["instance-1"])
    before = await system.client.get_rollback_readiness("user-service")
    assert [one.source for one in before.instances] == ["from_disk"]

    (release,) = (agent.root("instance-1") / "releases").glob("v1-*")
    victim = next(path for path in sorted(release.rglob("*")) if path.is_file())
    victim.write_bytes(b"something else")

    after = await until(
        lambda: system.client.get_rollback_readiness("user-service"),
        lambda found: found.instances[0].source == "from_url",
    )
    assert "v1 is damaged on the host's disk: " in after.instances[0].reason
    assert await system.serving("instance-1") == "v2"

    await agent.kill()
    await agent.return_to_work()
    kept = await system.client.get_rollback_readiness("user-service")
    assert kept.instances[0].source == "from_url"
