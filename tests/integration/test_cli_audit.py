"""`ferryman audit`: the table that people read, and the verdict with its exit code."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.parts.fake_coordinator import AT, ok
from tests.parts.shell import Shell

HASH = "ab" * 32
ROW: dict[str, Any] = {
    "seq": 7,
    "at": AT,
    "proof": "token",
    "who": "release-bot",
    "token_id": "token-1",
    "role": "deployer",
    "address": "10.0.0.9",
    "operation": "execute_deployment",
    "object_id": "d-1",
    "parameters": {"version": "v2"},
    "before": {"versions": {"v1": 998, "v0": 2}},
    "after": {"task_id": "d-1"},
    "result": "accepted",
    "message": "",
    "count": 1,
    "prev": HASH,
    "hash": HASH,
}
VERDICT: dict[str, Any] = {
    "sound": True,
    "rows": 12,
    "first_seq": 3,
    "first_at": AT,
    "last_seq": 14,
    "last_at": AT,
    "last_hash": HASH,
    "broken_seq": None,
    "problem": "",
    "removed_up_to_seq": 2,
    "removed_at": AT,
}


def listed(shell: Shell, *rows: dict[str, Any], total: int = 0) -> None:
    page = {"rows": rows, "total": total or len(rows), "limit": 100, "offset": 0}
    shell.fake.script("GET", "/v1/audit", ok(page))


def test_each_row_says_who_from_where_what_and_with_which_result(shell: Shell) -> None:
    bulk = {"parameters": {"first": AT}, "before": {}, "after": {}}
    listed(
        shell,
        ROW,
        ROW
        | bulk
        | {
            "seq": 6,
            "proof": "none",
            "who": "",
            "role": "",
            "operation": "enroll",
            "object_id": "host-a",
            "result": "unauthenticated",
            "message": "the token is not known here",
            "count": 40,
        },
        ROW
        | {
            "seq": 5,
            "operation": "cancel_deployment",
            "parameters": {},
            "before": {"status": "in_progress"},
            "after": {"status": "cancelled"},
        },
        ROW
        | {
            "seq": 4,
            "proof": "certificate",
            "who": "host-b",
            "operation": "rollback_instance",
            "object_id": "i-1",
            "parameters": {"target_version": "v1"},
            "before": {},
            "after": {"task_id": "rollback-9"},
        },
    )
    lines = shell("audit").out.splitlines()
    time = "2026-01-02T03:04:05Z"
    assert [line.split() for line in lines] == [
        ["#", "TIME", "WHO", "ROLE", "FROM", "WHAT", "OBJECT", "RESULT", "DETAIL"],
        f"7 {time} release-bot (token-1) deployer 10.0.0.9 execute_deployment d-1 accepted "
        "from v1 (998), v0 (2) to v2".split(),
        f"6 {time} - - 10.0.0.9 enroll host-a unauthenticated 40 times "
        "the token is not known here".split(),
        f"5 {time} release-bot (token-1) deployer 10.0.0.9 cancel_deployment d-1 accepted "
        "in_progress to cancelled".split(),
        f"4 {time} host host-b deployer 10.0.0.9 rollback_instance i-1 accepted "
        "to v1, as rollback-9".split(),
    ]


def test_json_holds_all_of_a_row(shell: Shell) -> None:
    listed(shell, ROW)
    (shown,) = json.loads(shell("audit", "-o", "json").out)["rows"]
    assert {**shown, "at": AT} == ROW


@pytest.mark.parametrize(("span", "seconds"), [("24h", 86_400), ("1h30m", 5400)])
def test_since_takes_a_span(shell: Shell, span: str, seconds: int) -> None:
    listed(shell)
    assert shell("audit", "--since", span, "--limit", "5").code == 0
    query = shell.fake.seen[-1].query
    asked = datetime.fromisoformat(query["since"])
    assert abs(datetime.now(UTC) - asked - timedelta(seconds=seconds)) < timedelta(minutes=1)
    assert query["limit"] == "5"


def test_since_takes_a_time(shell: Shell) -> None:
    listed(shell)
    assert shell("audit", "--since", "2026-01-02T05:04:05+02:00").code == 0
    assert shell.fake.seen[-1].query["since"] == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize("wrong", ["yesterday", "2026-01-02", "2026-01-02T03:04:05", "0s", "-1h"])
def test_since_refuses_what_is_neither(shell: Shell, wrong: str) -> None:
    said = shell("audit", f"--since={wrong}")
    assert said.code == 2
    assert "neither a span such as 24h nor a time as RFC 3339 has it" in said.err
    assert shell.fake.seen == []


def test_there_is_more_with_offset(shell: Shell) -> None:
    listed(shell, ROW, total=3)
    assert "1 of 3; more with --offset 1" in shell("audit").err


def test_a_sound_trail_exits_with_0_and_tells_the_hash_to_note(shell: Shell) -> None:
    shell.fake.script("GET", "/v1/audit/verify", ok(VERDICT))
    said = shell("audit", "--verify")
    assert said.code == 0
    time = "2026-01-02T03:04:05Z"
    assert said.out.splitlines() == [
        "audit trail  sound",
        "rows         12",
        f"from         #3 of {time}",
        f"to           #14 of {time}",
        f"last hash    {HASH}",
    ]
    assert "rows up to #2 were removed for their age" in said.err


def test_a_broken_trail_exits_with_1_and_names_the_row(shell: Shell) -> None:
    broken = VERDICT | {"sound": False, "broken_seq": 9, "problem": "it was changed"}
    shell.fake.script("GET", "/v1/audit/verify", ok(broken))
    said = shell("audit", "--verify", "--expect", HASH)
    assert said.code == 1
    assert "audit trail  BROKEN" in said.out
    assert "ferryman: row #9: it was changed" in said.err
    assert shell.fake.seen[-1].query == {"expect": HASH}
    assert shell("audit", "--verify", "-o", "json").code == 1


def test_expect_is_for_verify_only(shell: Shell) -> None:
    said = shell("audit", "--expect", HASH)
    assert (said.code, shell.fake.seen) == (2, [])
    assert "--expect is for --verify" in said.err
