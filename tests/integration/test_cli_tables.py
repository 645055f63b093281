"""What the command line shows of the fleet: whole tables on a pipe, health and statistics."""

from __future__ import annotations

import json

import pytest

from tests.parts.fake_coordinator import AT, instance, instance_page, ok, readiness, ready
from tests.parts.shell import Shell


def test_every_table_is_readable_on_a_pipe_and_whole(shell: Shell) -> None:
    name = "instance-" + "x" * 100
    fake = shell.fake
    versions = {
        "instance_id": name,
        "version": "",
        "status": "stopped",
        "last_updated": AT,
        "reason": "never deployed",
    }
    page = {"total": 1, "limit": 100, "offset": 0}
    fake.script(
        "GET",
        "/v1/service/web/versions",
        ok(
            {
                "service": "web",
                "instances": [versions],
                "version_summary": {"": 1},
                "total_instances": 1,
                "updated_at": AT,
            }
        ),
    )
    fake.script("GET", "/v1/service/web/instances", ok(instance_page([instance(name)], 900)))
    fake.script(
        "GET",
        f"/v1/instance/{name}/version-history",
        ok(
            {
                "instance_id": name,
                "service": "web",
                "history": [
                    {
                        "version": "v1",
                        "action": "deploy",
                        "deploy_id": name,
                        "timestamp": AT,
                        "status": "success",
                    }
                ],
                "total": 1,
            }
        ),
    )
    host = {
        "host_id": name,
        "connected": True,
        "agent_version": "0.1.0",
        "address": "10.0.0.5",
        "instances": ["a"],
        "joined_at": AT,
        "last_heartbeat": AT,
    }
    fake.script("GET", "/v1/host", ok({"hosts": [host]} | page))
    service = {
        "service": name,
        "instances": 1,
        "running": 1,
        "connected": 1,
        "version_summary": {"v1": 1},
    }
    fake.script("GET", "/v1/service", ok({"services": [service]} | page))
    for command in (
        ["versions", "web"],
        ["instances", "web"],
        ["history", name],
        ["hosts"],
        ["services"],
    ):
        said = shell(*command)
        assert said.code == 0, said.err
        header, line = said.out.splitlines()[:2]
        assert name in line.split()
        assert header == header.upper()
        assert json.loads(shell(*command, "-o", "json").out)
    assert "never deployed: 1 instance" in shell("versions", "web").out
    assert "1 of 900; more with --offset 1" in shell("instances", "web").err


def test_health_and_stats(shell: Shell) -> None:
    health = {
        "status": "healthy",
        "version": "0.1.0",
        "uptime": "26h3m5s",
        "database": "ok",
        "cache": "ok",
        "timestamp": AT,
    }
    shell.fake.script("GET", "/v1/system/health", ok(health))
    assert "26h3m5s" in shell("health").out
    shell.fake.script("GET", "/v1/system/health", ok(health | {"status": "unhealthy"}))
    assert shell("health").code == 8
    counts = {"total": 4, "success": 3, "failed": 1, "success_rate": 0.75}
    stats = {
        "period": "7d",
        "deployments": counts,
        "rollbacks": counts,
        "instances": {"total": 9, "healthy": 8, "unhealthy": 1},
        "timestamp": AT,
    }
    shell.fake.script("GET", "/v1/system/stats", ok(stats))
    said = shell("stats", "--period", "7d")
    assert "75.0%" in said.out
    assert "instances now: 9 (8 healthy, 1 unhealthy)" in said.out


def test_ready_shows_each_way_back_and_how_old_its_proof_is(shell: Shell) -> None:
    rows = [
        ready("a"),
        ready("b", proven_ago=None, reason="on the host's disk, not verified yet"),
        ready("c", source="from_url", proven_ago=None, connected=False),
    ]
    shell.fake.script("GET", "/v1/service/web/rollback-readiness", ok(readiness(*rows)))
    said = shell("ready", "web")
    assert said.code == 0
    header, *lines = (line.split() for line in said.out.splitlines()[:4])
    assert header[:3] == ["INSTANCE", "RUNS", "BACK"]
    assert [line[:4] for line in lines] == [
        ["a", "v2", "v1", "from_disk"],
        ["b", "v2", "v1", "from_disk"],
        ["c", "v2", "v1", "from_url"],
    ]
    assert lines[0][4:6] == ["2h", "ago"]
    assert lines[1][4] == "-"
    assert lines[2][5] == "no", "its agent is away"
    assert "from_disk: 2 instances" in said.out
    assert "no_target" not in said.out
    assert json.loads(shell("ready", "web", "-o", "json").out)["from_url"] == 1


@pytest.mark.parametrize(("rows", "code"), [(["no_target"], 7), (["from_disk", "no_target"], 7)])
def test_ready_exits_with_7_if_one_instance_could_not_go_back(
    shell: Shell, rows: list[str], code: int
) -> None:
    found = readiness(*(ready(f"i-{n}", source=source) for n, source in enumerate(rows)))
    shell.fake.script("GET", "/v1/service/web/rollback-readiness", ok(found))
    for output in ("table", "json"):
        said = shell("ready", "web", "--version", "v1", "-o", output)
        assert said.code == code
    (first, _) = shell.fake.asked("GET", "/v1/service/web/rollback-readiness")
    assert first.query == {"version": "v1"}
