"""`ferryman status`, `cancel` and `rollback`: what kind of task it is, is seen by its id."""

from __future__ import annotations

import json

from tests.parts.fake_coordinator import AT, ok, prefetch, refusal, rollback, row, task
from tests.parts.shell import STATUS, Said, Shell

NOT_FOUND = refusal(404, "not_found", "no such task")


def test_an_id_is_looked_up_in_all_kinds(shell: Shell) -> None:
    fake = shell.fake
    fake.script("GET", STATUS, ok(task("completed", [row("a")])))
    assert "deployment" in shell("status", "d-1").out

    back = rollback("completed", [row("a")], "rollback-1")
    fake.script("GET", "/v1/rollback/rollback-1", ok(back))
    assert "rollback" in shell("status", "rollback-1").out
    assert not fake.asked("GET", "/v1/deployment/rollback-1")

    named_so = task("completed", [row("a")], deploy_id="rollback-friday")
    fake.script("GET", "/v1/rollback/rollback-friday", NOT_FOUND)
    fake.script("GET", "/v1/deployment/rollback-friday", ok(named_so))
    assert shell("status", "rollback-friday").code == 0

    fake.script("GET", "/v1/deployment/other", NOT_FOUND)
    fake.script("GET", "/v1/rollback/other", ok(rollback("failed", [], "other")))
    assert shell("status", "other").code == 5
    assert shell("status", "none") == Said(
        3, "", "ferryman: there is no deployment, rollback or prefetch none\n"
    )

    ahead = prefetch("failed", [row("a", "failed")])
    fake.script("GET", "/v1/prefetch/prefetch-1", ok(ahead))
    said = shell("status", "prefetch-1")
    assert (said.code, said.out.split()[:2]) == (5, ["prefetch", "prefetch-1"])
    assert not fake.asked("GET", "/v1/deployment/prefetch-1")


def test_cancel_takes_all_kinds(shell: Shell) -> None:
    told = {"deploy_id": "d-1", "status": "in_progress", "cancelled_at": AT}
    shell.fake.script("POST", f"{STATUS}/cancel", ok(told))
    said = shell("cancel", "d-1")
    assert said.code == 0
    assert "2026-01-02T03:04:05Z" in said.out
    assert "status d-1 --watch" in said.err
    told = {"rollback_id": "rollback-1", "status": "cancelled", "cancelled_at": AT}
    shell.fake.script("POST", "/v1/rollback/rollback-1/cancel", ok(told))
    assert json.loads(shell("cancel", "rollback-1", "-o", "json").out)["status"] == "cancelled"
    told = {"prefetch_id": "prefetch-1", "status": "cancelled", "cancelled_at": AT}
    shell.fake.script("POST", "/v1/prefetch/prefetch-1/cancel", ok(told))
    assert "cancelled" in shell("cancel", "prefetch-1").out


def test_rollback_of_several_and_of_one(shell: Shell) -> None:
    several = {
        "rollback_id": "rollback-1",
        "service": "web",
        "target_version": "v1",
        "status": "pending",
        "instances": ["a", "b"],
        "total_instances": 2,
        "started_at": AT,
    }
    shell.fake.script("POST", "/v1/rollback", ok(several))
    back = rollback("completed", [row("a"), row("b")], "rollback-1")
    shell.fake.script("GET", "/v1/rollback/rollback-1", ok(back))
    said = shell("rollback", "web", "v1", "--instances", "a,b", "--force", "--wait")
    assert (said.code, said.out) == (0, "rollback-1\n")
    assert shell.fake.asked("POST", "/v1/rollback")[0].body == {
        "service": "web",
        "target_version": "v1",
        "instances": ["a", "b"],
        "force": True,
        "package_url": "",
        "timeout": 300,
    }
    one = {k: several[k] for k in ("rollback_id", "target_version", "status", "started_at")}
    shell.fake.script("POST", "/v1/instance/a/rollback", ok(one | {"instance_id": "a"}))
    assert shell("rollback", "--instance", "a", "v1").out == "rollback-1\n"


def test_status_without_an_id_lists_the_newest_of_all_kinds(shell: Shell) -> None:
    progress = task("failed", [row("a", "failed")])["progress"]
    common = {"service": "web", "status": "failed", "progress": progress, "updated_at": AT}
    page = {"total": 1, "limit": 20, "offset": 0}
    deployment = {"deploy_id": "d-1", "version": "v2", "started_at": AT} | common
    back = {
        "rollback_id": "rollback-1",
        "target_version": "v1",
        "rollback_type": "single",
        "started_at": AT.replace("2026", "2027"),
    } | common
    ahead = {
        "prefetch_id": "prefetch-1",
        "version": "v2",
        "started_at": AT.replace("2026", "2025"),
    } | common
    shell.fake.script("GET", "/v1/prefetch", ok({"prefetches": [ahead]} | page))
    shell.fake.script("GET", "/v1/deployment", ok({"deployments": [deployment]} | page))
    shell.fake.script("GET", "/v1/rollback", ok({"rollbacks": [back]} | page))
    said = shell("status")
    assert said.code == 0
    assert [line.split()[1] for line in said.out.splitlines()] == [
        "ID",
        "rollback-1",
        "d-1",
        "prefetch-1",
    ]
    assert set(json.loads(shell("status", "-o", "json").out)) == {
        "deployments",
        "rollbacks",
        "prefetches",
    }
