"""`pause`, `resume`, `promote`, `retry`, `rollback --deployment`, and the flags of a strategy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.parts.fake_coordinator import AT, accepted, ok, refusal, rollback, row, task
from tests.parts.shell import DEPLOY, STATUS, Shell, ready_to_deploy

PAUSED = {
    "waits_for": "resume",
    "reason": "paused since 2026-01-02T03:04:05Z: nothing new begins",
    "paused_at": AT,
}
BACK = {
    "rollback_id": "rollback-1",
    "service": "web",
    "target_version": "@previous",
    "status": "pending",
    "instances": ["a"],
    "total_instances": 1,
    "started_at": AT,
}
NOT_FOUND = refusal(404, "not_found", "no such task")


@pytest.mark.parametrize("verb", ["pause", "resume", "promote"])
def test_a_task_of_either_kind_is_steered_and_shown(shell: Shell, verb: str) -> None:
    rows = [row("a"), row("b", "pending")]
    shell.fake.script("POST", f"{STATUS}/{verb}", ok(task("in_progress", rows, rollout=PAUSED)))
    said = shell(verb, "d-1")
    assert said.code == 0
    assert dict(line.split(None, 1) for line in said.out.splitlines()) == {
        "id": "d-1",
        "status": "in_progress",
        "ended": "1 of 2",
        "waits": PAUSED["reason"],
    }
    back = rollback("in_progress", rows, "rollback-1")
    shell.fake.script("POST", f"/v1/rollback/rollback-1/{verb}", ok(back))
    assert json.loads(shell(verb, "rollback-1", "-o", "json").out)["rollback_id"] == "rollback-1"
    shell.fake.script("POST", f"/v1/deployment/d-2/{verb}", NOT_FOUND)
    shell.fake.script("POST", f"/v1/rollback/d-2/{verb}", refusal(409, "conflict", "has ended"))
    assert shell(verb, "d-2").code == 7


def test_a_retry_waits_like_a_deployment(shell: Shell) -> None:
    shell.fake.script("POST", "/v1/deployment/old/retry", ok(accepted()))
    shell.fake.script("GET", STATUS, ok(task("failed", [row("a", "failed")])))
    said = shell("retry", "old", "--id", "d-1", "--wait")
    assert (said.code, said.out) == (5, "d-1\n")
    assert shell.fake.seen[0].body == {"deploy_id": "old", "new_id": "d-1", "force": False}
    shell.fake.script("POST", "/v1/rollback/rollback-0/retry", ok(BACK))
    assert shell("retry", "rollback-0", "--no-wait").out == "rollback-1\n"


def test_a_retry_of_a_deployment_takes_force(shell: Shell) -> None:
    shell.fake.script("POST", "/v1/deployment/old/retry", ok(accepted()))
    assert shell("retry", "old", "--force").code == 0
    assert shell.fake.seen[0].body == {"deploy_id": "old", "force": True}


@pytest.mark.parametrize("rollback_id", ["rollback-1", "looks-like-none"])
def test_a_retry_of_a_rollback_takes_no_force(shell: Shell, rollback_id: str) -> None:
    shell.fake.script("POST", f"/v1/deployment/{rollback_id}/retry", NOT_FOUND)
    found = rollback("failed", [row("a", "failed")], rollback_id)
    shell.fake.script("GET", f"/v1/rollback/{rollback_id}", ok(found))
    said = shell("retry", rollback_id, "--force")
    assert (said.code, said.out) == (2, "")
    assert f"{rollback_id} is a rollback: it needs no --force" in said.err
    assert shell.fake.asked("POST", f"/v1/rollback/{rollback_id}/retry") == []


def test_a_retry_with_force_of_what_is_not_known_is_not_found(shell: Shell) -> None:
    shell.fake.script("POST", "/v1/deployment/rollback-9/retry", NOT_FOUND)
    shell.fake.script("GET", "/v1/rollback/rollback-9", NOT_FOUND)
    assert shell("retry", "rollback-9", "--force").code == 3


def test_a_deployment_is_taken_back(shell: Shell) -> None:
    shell.fake.script("POST", f"{STATUS}/rollback", ok(BACK))
    said = shell(
        *["rollback", "--deployment", "d-1", "--force", "--timeout", "9", "--max-parallel", "2"]
    )
    assert (said.code, said.out) == (0, "rollback-1\n")
    assert shell.fake.seen[0].body == {
        "deploy_id": "d-1",
        "force": True,
        "timeout": 9,
        "strategy": {"max_parallel": 2},
    }
    wrong = shell("rollback", "--deployment", "d-1", "web", "v1")
    assert (wrong.code, "it knows them" in wrong.err) == (2, True)


def test_previous_is_a_version_to_roll_back_to(shell: Shell) -> None:
    shell.fake.script("POST", "/v1/rollback", ok(BACK))
    assert shell("rollback", "web", "@previous", "--instances", "a").code == 0
    assert shell.fake.seen[0].body["target_version"] == "@previous"


def test_what_the_task_waits_for_is_said_once(shell: Shell) -> None:
    rows = [row("a"), row("b", "pending")]
    place = {"waits_for": "place", "reason": "waiting for a place: 1 of at most 1 at work"}
    ready_to_deploy(
        shell.fake,
        task("in_progress", rows, rollout=place),
        task("in_progress", rows, rollout=place),
        task("in_progress", rows, rollout=PAUSED),
        task("failed", [row("a")], rollout={"reason": "too many", "led_to": ["rollback-9"]}),
    )
    said = shell(*DEPLOY, "--instances", "a,b", "--wait")
    assert said.err.count("waiting for a place") == 1
    assert said.err.count("paused since") == 1
    assert "  stopped: too many\n  led to rollback-9\n" in said.err


# ---- the flags of a strategy -------------------------------------------------

EVERY_DAY = {"begin": "01:00", "until": "05:00"}
WORKDAYS = ["mon", "tue", "wed", "thu", "fri"]


@pytest.mark.parametrize(
    ("flags", "body"),
    [
        ([], None),
        (["--strategy", "careful"], {"name": "careful"}),
        (["--strategy", "none"], {}),
        (["--max-parallel", "25%", "--canary", "2"], {"max_parallel": "25%", "canary": 2}),
        (["--promote", "manual", "--bake", "5m"], {"promote": "manual", "bake": 300}),
        (
            ["--max-failures", "0", "--max-unreachable", "10%"],
            {"max_failures": 0, "max_unreachable": "10%"},
        ),
        (
            ["--prepare", "all", "--on-failure", "rollback"],
            {"prepare": "all", "on_failure": "rollback"},
        ),
        (["--spread", "zone", "--guard", "1h30m"], {"spread": "zone", "guard": 5400}),
        (["--not-before", "2026-11-24T22:00Z"], {"not_before": "2026-11-24T22:00:00Z"}),
        (["--window", "01:00-05:00"], {"windows": [EVERY_DAY]}),
        (
            ["--window", "mon-fri 22:00-06:00 Europe/Berlin", "--window", "sun,sat 00:00-24:00"],
            {
                "windows": [
                    {
                        "days": WORKDAYS,
                        "begin": "22:00",
                        "until": "06:00",
                        "timezone": "Europe/Berlin",
                    },
                    {"days": ["sat", "sun"], "begin": "00:00", "until": "24:00"},
                ]
            },
        ),
        (
            ["--window", "fri-mon 01:00-05:00"],
            {"windows": [{"days": ["mon", "fri", "sat", "sun"], **EVERY_DAY}]},
        ),
        (
            ["--strategy", "careful", "--max-failures", "none", "--window", "none", "--bake", "0"],
            {"name": "careful", "max_failures": None, "windows": None, "bake": 0},
        ),
    ],
)
def test_flags_become_the_strategy(shell: Shell, flags: list[str], body: Any) -> None:
    ready_to_deploy(shell.fake)
    assert shell(*DEPLOY, "--instances", "a", *flags).code == 0
    assert shell.fake.seen[-1].body.get("strategy") == body
    shell.fake.script("POST", "/v1/rollback", ok(BACK))
    assert shell("rollback", "web", "v1", "--instances", "a", *flags).code == 0
    assert shell.fake.seen[-1].body.get("strategy") == body


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--max-parallel", "0"], "strategy.max_parallel: must be a whole number from 1"),
        (["--max-failures", "10.5%"], "strategy.max_failures: must be a whole number from 0"),
        (["--canary", "none"], "strategy.canary: must be"),
        (["--bake", "5"], "is no span of time such as"),
        (["--bake", "8d"], "strategy.bake: must be a whole number of seconds from 0 to 604800"),
        (["--promote", "perhaps"], "'perhaps' is not one of"),
        (["--window", "at night"], "a window is [DAYS] HH:MM-HH:MM [ZONE]"),
        (["--window", "mon-fry 01:00-05:00"], "'mon-fry' is none of mon, tue"),
        (["--window", "25:00-05:00"], "strategy.windows[0].begin: must be a time of day"),
        (["--window", "01:00-05:00 Europe/Nowhere"], "strategy.windows[0].timezone: must be"),
        (["--not-before", "tonight"], "strategy.not_before: must be a time"),
        (["--strategy", "none", "--bake", "5m"], "give no other field"),
    ],
)
def test_a_wrong_flag_is_refused_before_anything_is_sent(
    shell: Shell, flags: list[str], said: str
) -> None:
    told = shell(*DEPLOY, "--instances", "a", *flags)
    assert (told.code, told.out) == (2, "")
    assert said in told.err
    assert not shell.fake.seen
