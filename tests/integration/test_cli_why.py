"""`ferryman why`: a paragraph of a task, of an instance that a task has, and of one on its own."""

from __future__ import annotations

import json
from typing import Any

from tests.parts.fake_coordinator import AT, instance, instance_page, ok, refusal, row, task
from tests.parts.shell import ESCAPE, STATUS, Shell

NOT_FOUND = refusal(404, "not_found", "no such thing")
SINCE = "2026-01-02T03:04:05Z"
UNTIL = "2026-01-02T06:00:00Z"
WINDOW = f"nothing new begins yet: its window opens at {UNTIL}"


def waits(name: str, reason: str, **more: Any) -> dict[str, Any]:
    return row(name, "pending", phase="queued", reason=reason, waits_since=AT, **more)


def away(name: str, minute: int) -> dict[str, Any]:
    until = f"2026-01-02T03:{minute:02}:00Z"
    reason = f"waiting for its agent to return; agent silent since {SINCE}; until {until}"
    return row(name, "pending", reason=reason, waits_since=AT, waits_until=until)


def no_task(shell: Shell, name: str) -> None:
    for kind in ("deployment", "rollback", "prefetch"):
        shell.fake.script("GET", f"/v1/{kind}/{name}", NOT_FOUND)


def instance_is(shell: Shell, found: dict[str, Any]) -> None:
    name = found["instance_id"]
    no_task(shell, name)
    past = {"instance_id": name, "service": "web", "history": [], "total": 0}
    shell.fake.script("GET", f"/v1/instance/{name}/version-history", ok(past))
    page = instance_page([instance("other"), found], 2)
    shell.fake.script("GET", "/v1/service/web/instances", ok(page))


def test_a_task_tells_what_it_waits_for_and_instances_alike_together(shell: Shell) -> None:
    rows = [row("a"), row("b", "failed"), away("c", 9), away("d", 11)]
    rows += [waits(f"q-{n}", WINDOW) for n in range(5)]
    rollout = {
        "waits_for": "window",
        "reason": WINDOW,
        "waits_until": UNTIL,
        "waits_since": AT,
        "follows": "d-0",
        "relation": "retry",
    }
    shell.fake.script("GET", STATUS, ok(task("in_progress", rows, rollout=rollout)))
    said = shell("why", "d-1")
    assert said.code == 0
    assert said.out == (
        "Deployment d-1 (web v2) is in_progress: 2 of 9 have ended, 1 of them failed. "
        "It tries d-0 again. "
        f"The task itself: {WINDOW} (since {SINCE}). "
        "For that wait 5 instances (q-0, q-1, q-2 and 2 more). "
        "2 instances (c, d): waiting for its agent to return; agent silent since "
        f"{SINCE}; until 2026-01-02T03:09:00Z (until 2026-01-02T03:11:00Z at the latest).\n"
    )


def test_a_task_that_has_ended_tells_how(shell: Shell) -> None:
    rows = [row("a"), row("b", "cancelled", receipt="never_started")]
    done = task("cancelled", rows, completed_at=AT, rollout={"reason": "1 failed, too many"})
    shell.fake.script("GET", STATUS, ok(done))
    assert shell("why", "d-1").out == (
        "deployment d-1: web v2 cancelled in 0.0 s: 1 of 2 completed, 1 cancelled. "
        "stopped: 1 failed, too many. 1 instance cancelled, never started: b.\n"
    )


def test_an_instance_tells_which_task_has_it_and_why_it_waits_there(shell: Shell) -> None:
    instance_is(shell, instance("a", held_by="d-1"))
    rollout = {"waits_for": "promotion", "reason": "the canary has passed", "waits_since": AT}
    held = task("in_progress", [waits("a", "the canary has passed"), row("b")], rollout=rollout)
    shell.fake.script("GET", STATUS, ok(held))
    assert shell("why", "a").out == (
        "a of web on host host-a runs v1; its status is running, and its agent is connected. "
        "Deployment d-1 (web v2) has it. "
        f"There it is queued: the canary has passed (since {SINCE}).\n"
    )
    told = json.loads(shell("why", "a", "-o", "json").out)
    assert (told["task"]["deploy_id"], told["instance"]["held_by"]) == ("d-1", "d-1")
    assert told["text"].startswith("a of web")


def test_an_instance_that_no_task_has_tells_how_it_does(shell: Shell) -> None:
    instance_is(
        shell,
        instance("a", status="error", connected=False, reason=f"silent {ESCAPE}", version=""),
    )
    said = shell("why", "a")
    assert said.out.startswith(
        "a of web on host host-a runs nothing yet; its status is error (silent "
    )
    assert said.out.endswith(f", and its agent is silent since {SINCE}. No task has it.\n")
    assert "\x1b" not in said.out


def test_what_is_neither_is_not_found(shell: Shell) -> None:
    no_task(shell, "nobody")
    shell.fake.script("GET", "/v1/instance/nobody/version-history", NOT_FOUND)
    said = shell("why", "nobody")
    assert (said.code, said.err) == (3, "ferryman: there is no task and no instance nobody\n")
