"""`ferryman deploy --plan`: what it shows, and the command that carries it out."""

from __future__ import annotations

import io
import json
import shlex
from typing import Any

import pytest

from tests.parts.fake_coordinator import AT, accepted, instance, instance_page, ok, refusal
from tests.parts.shell import DEPLOY, ESCAPE, URL, Shell

PLAN = f"plan-{'abcdefg2' * 8}"


def planned(name: str, **more: Any) -> dict[str, Any]:
    """One instance of a `DeploymentPlan`."""
    return {
        "instance_id": name,
        "host_id": f"host-{name}",
        "batch": 0,
        "version": "v1",
        "digest": "ab" * 32,
        "connected": True,
        "away_since": None,
        "held_by": "",
        "download_bytes": 12_300_000,
        "free_bytes": 9_000_000_000,
        "free_bytes_after": 8_900_000_000,
        "back_to": "v1",
        "back_from": "from_disk",
        "back_reason": "",
    } | more


def plan(*instances: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A `DeploymentPlan`."""
    return {
        "plan": PLAN,
        "service": "web",
        "version": "v2",
        "total_instances": len(instances),
        "strategy": None,
        "sizes": [],
        "batches": [
            {"batch": 0, "canary": False, "instances": [one["instance_id"] for one in instances]}
        ],
        "instances": list(instances),
        "away": 0,
        "package_bytes": 12_300_000,
        "download_bytes": 12_300_000 * len(instances),
        "begins_at": None,
        "longest_seconds": 4260.0,
        "longest_reason": "",
        "ends_by": AT,
        "warnings": [],
        "made_at": AT,
    } | more


def lines(text: str) -> list[str]:
    """Lines with single spaces between the words."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_it_shows_what_would_be_done_and_starts_nothing(shell: Shell) -> None:
    answer = plan(
        planned("a"),
        planned("b", batch=1, connected=False, away_since=AT, held_by="deploy-7"),
        planned("c", batch=1, version="", back_to="", back_from="no_target", back_reason="new"),
        sizes=[
            {
                "field": "canary",
                "said": "10%",
                "instances": 1,
                "text": "10% of 3 = 1 (0.3 rounded up)",
            }
        ],
        batches=[
            {"batch": 0, "canary": True, "instances": ["a"]},
            {"batch": 1, "canary": False, "instances": ["b", "c"]},
        ],
        away=1,
        warnings=["away, and would fail unless they return within their timeout: b"],
    )
    shell.fake.script("POST", "/v1/deployment/plan", ok(answer))
    said = shell(*DEPLOY, "--instances", "a,b,c", "--plan")
    assert said.code == 0
    shown = lines(said.out)
    assert f"plan {PLAN}" in shown
    assert "instances 3, 1 of them away" in shown
    assert "canary 10% of 3 = 1 (0.3 rounded up)" in shown
    assert "begins at once" in shown
    assert "ends within 1h11m, by 2026-01-02T03:04:05Z" in shown
    assert "download 36.9 MB in all, 12.3 MB each" in shown
    assert "canary a host-a v1 v1 from disk 12.3 MB 8.9 GB -" in shown
    away = "away since 2026-01-02T03:04:05Z · held by deploy-7"
    assert f"2 of 2 b host-b v1 v1 from disk 12.3 MB 8.9 GB {away}" in shown
    assert "2 of 2 c host-c - no 12.3 MB 8.9 GB -" in shown
    assert "warning: away, and would fail unless they return within their timeout: b" in shown
    assert shown[-1] == (
        f"To carry it out: ferryman deploy web v2 --package-url {URL} --id d-1 "
        f"--instances a,b,c --plan-id {PLAN}"
    )
    assert [seen.path for seen in shell.fake.seen] == ["/v1/deployment/plan"]
    assert "plan" not in shell.fake.seen[0].body


def test_what_is_not_known_is_said_to_be_not_known(shell: Shell) -> None:
    nobody_told = {"download_bytes": None, "free_bytes": None, "free_bytes_after": None}
    answer = plan(
        planned("a", **nobody_told),
        package_bytes=None,
        download_bytes=None,
        longest_seconds=None,
        longest_reason=f"not known: {ESCAPE}",
        ends_by=None,
        begins_at=AT,
    )
    shell.fake.script("POST", "/v1/deployment/plan", ok(answer))
    said = shell(*DEPLOY, "--instances", "a", "--plan")
    assert "\x1b" not in said.out
    shown = lines(said.out)
    assert "begins 2026-01-02T03:04:05Z" in shown
    assert any(line.startswith("ends not known: ") for line in shown)
    assert "download not known: no agent has told yet how large the package is" in shown
    assert "1 of 1 a host-a v1 v1 from disk not known not known -" in shown


def test_the_command_that_is_shown_carries_it_out(shell: Shell) -> None:
    shell.fake.script("POST", "/v1/deployment/plan", ok(plan(planned("a"))))
    shell.fake.script("POST", "/v1/deployment", ok(accepted(1)))
    page = ok(instance_page([instance("a", metadata={"zone": "a b"})], 1))
    shell.fake.script("GET", "/v1/service/web/instances", page)
    shown = shell(*DEPLOY, "--where", "zone=a b", "--plan", "--canary", "10%").out
    command = shlex.split(shown.splitlines()[-1].removeprefix("To carry it out: "))
    assert command[0] == "ferryman"
    assert shell(*command[1:]).code == 0
    planned_for = shell.fake.asked("POST", "/v1/deployment/plan")[0].body
    carried_out = shell.fake.asked("POST", "/v1/deployment")[0].body
    assert carried_out == planned_for | {"plan": PLAN}
    assert carried_out["strategy"]["canary"] == "10%"


def test_json_is_the_plan_and_nothing_else(shell: Shell) -> None:
    shell.fake.script("POST", "/v1/deployment/plan", ok(plan(planned("a"))))
    said = shell(*DEPLOY, "--instances", "a", "--plan", "-o", "json")
    assert (json.loads(said.out)["plan"], said.err) == (PLAN, "")


@pytest.mark.parametrize(
    "given",
    [
        ["--package-url", f"{URL}?signature=secret"],
        [f"--package-url={URL}?signature=secret"],
        ["--package-url", "-"],
    ],
)
def test_a_signed_url_is_not_shown(
    shell: Shell, given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{URL}?signature=secret\n"))
    shell.fake.script("POST", "/v1/deployment/plan", ok(plan(planned("a"))))
    said = shell("deploy", "web", "v2", *given, "--instances", "a", "--plan")
    assert shell.fake.seen[0].body["package_url"] == f"{URL}?signature=secret"
    assert "secret" not in said.out + said.err
    assert "--package-url - " in said.out or "--package-url=- " in said.out


def test_what_the_fleet_says_does_not_reach_the_terminal(shell: Shell) -> None:
    answer = plan(planned("a", host_id=ESCAPE), warnings=[f"away: {ESCAPE}"])
    shell.fake.script("POST", "/v1/deployment/plan", ok(answer))
    said = shell(*DEPLOY, "--instances", "a", "--plan")
    assert "\x1b" not in said.out


def test_another_plan_by_now_is_a_conflict(shell: Shell) -> None:
    message = "plan: it is another one by now. Changed since it was made: whose agents are away"
    shell.fake.script("POST", "/v1/deployment", refusal(409, "conflict", message))
    said = shell(*DEPLOY, "--instances", "a", "--plan-id", PLAN)
    assert said.code == 7
    assert message in said.err


def test_a_plan_is_made_or_held_to_and_not_both(shell: Shell) -> None:
    said = shell(*DEPLOY, "--instances", "a", "--plan", "--plan-id", PLAN)
    assert said.code == 2
    assert "give one of them" in said.err
    assert shell.fake.seen == []
