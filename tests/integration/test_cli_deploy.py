"""`ferryman deploy` against a scripted coordinator: which instances, how it waits, what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.parts.command_line import interrupted
from tests.parts.fake_coordinator import (
    cause,
    drop,
    fake_coordinator,
    instance,
    instance_page,
    ok,
    refusal,
    row,
    task,
)
from tests.parts.shell import DEPLOY, STATUS, URL, Said, Shell, ready_to_deploy


def test_without_waiting_it_prints_the_id_and_nothing_else(shell: Shell) -> None:
    ready_to_deploy(shell.fake)
    said = shell(*DEPLOY, "--instances", "a, b", "--timeout", "60", "--retry-count", "0")
    assert said == Said(0, "d-1\n", "")
    assert shell.fake.seen[-1].body == {
        "service": "web",
        "version": "v2",
        "instances": ["a", "b"],
        "package_url": URL,
        "deploy_id": "d-1",
        "timeout": 60,
        "retry_count": 0,
    }


def test_an_id_is_made_where_none_is_given(shell: Shell) -> None:
    ready_to_deploy(shell.fake)
    assert shell(*DEPLOY[:-2], "--instances", "a").code == 0
    assert re.fullmatch(r"deploy-[0-9A-Z]{26}", shell.fake.seen[-1].body["deploy_id"])


@pytest.mark.parametrize(("state", "code"), [("completed", 0), ("failed", 5), ("cancelled", 6)])
def test_field_note_35_waiting_ends_with_the_exit_code_of_the_task(
    shell: Shell, state: str, code: int
) -> None:
    ready_to_deploy(
        shell.fake,
        task("in_progress", [row("a", "in_progress", step="prepare", bytes_done=1_500_000)]),
        task(state, [row("a", state, reason="because", receipt="too_late")]),
    )
    said = shell(*DEPLOY, "--instances", "a", "--wait")
    assert (said.code, said.out) == (code, "d-1\n")
    assert "a  preparing  prepare · 1.5 MB" in said.err
    assert f"web v2 {state}: " in said.err


def test_json_is_all_that_stands_on_stdout(shell: Shell) -> None:
    final = task("failed", [row("a", "failed", error_message="no space")])
    ready_to_deploy(shell.fake, task("pending", [row("a", "pending")]), final)
    said = shell("-o", "json", *DEPLOY, "--instances", "a", "--wait")
    assert said.code == 5
    assert json.loads(said.out)["instances"][0]["error_message"] == "no space"
    assert said.err.startswith("d-1\n")
    said = shell(*DEPLOY, "--instances", "a", "--no-wait", "-o", "json")
    assert said.code == 0
    assert json.loads(said.out)["total_instances"] == 2


def test_equal_failures_are_shown_as_one(shell: Shell) -> None:
    names = [f"i-{n}" for n in range(70)]
    rows = [row(name, "failed", error_message="unwell") for name in names]
    rows += [row("odd", "failed", error_message="no space"), row("good")]
    told = [
        cause("check: answered 500", names[:20], "package", count=70, why="70 failed alike"),
        cause("no space", ["odd"], "host", why="its disk"),
        cause("oh", ["even"]),
    ]
    ready_to_deploy(shell.fake, task("failed", rows, causes=told))
    said = shell(*DEPLOY, "--instances", "a", "--wait")
    assert said.code == 5
    assert said.err.splitlines()[-7:] == [
        "deployment d-1: web v2 failed: 1 of 72 completed, 71 failed",
        "  70 instances, one cause: check: answered 500 (i-0, i-1, i-2 and 67 more)",
        "    the package's fault: 70 failed alike",
        "  odd: no space",
        "    the host's fault: its disk",
        "  even: oh",
        "    whose fault it is, is not known: it is said so",
    ]


def test_no_more_than_twenty_causes_are_shown(shell: Shell) -> None:
    told = [cause(f"reason {n}", [f"i-{n}"]) for n in range(23)]
    ready_to_deploy(shell.fake, task("failed", [row("a", "failed")], causes=told))
    said = shell(*DEPLOY, "--instances", "a", "--wait")
    assert "reason 19" in said.err
    assert "reason 20" not in said.err
    assert "  and 3 more causes" in said.err


def test_receipts_of_a_cancellation_are_counted(shell: Shell) -> None:
    rows = [row(name, "cancelled", receipt="never_started") for name in "ab"]
    ready_to_deploy(shell.fake, task("cancelled", rows))
    said = shell(*DEPLOY, "--instances", "a,b", "--wait")
    assert said.code == 6
    assert "2 instances cancelled, never started: a, b" in said.err


def test_waiting_outlasts_an_outage(shell: Shell) -> None:
    ready_to_deploy(shell.fake)
    shell.fake.script(
        "GET",
        STATUS,
        drop(),
        refusal(503, "unavailable", "the database is away"),
        ok(task("completed", [row("a")])),
    )
    said = shell(*DEPLOY, "--instances", "a", "--wait")
    assert said.code == 0
    assert "the database is away; asking again" in said.err
    assert "the coordinator is back" in said.err


def test_waiting_no_longer_than_told_exits_with_9(shell: Shell) -> None:
    ready_to_deploy(shell.fake, task("in_progress", [row("a", "in_progress")]))
    said = shell("-o", "json", *DEPLOY, "--instances", "a", "--wait-timeout", "1s")
    assert said.code == 9
    assert json.loads(said.out)["status"] == "in_progress"
    assert "ferryman cancel d-1" in said.err


def test_ctrl_c_stops_the_waiting_and_says_how_to_cancel(tmp_path: Path) -> None:
    with fake_coordinator(tmp_path) as fake:
        ready_to_deploy(fake, task("in_progress", [row("a", "in_progress")]))
        ended = interrupted(
            [*DEPLOY, "--instances", "a", "--wait"],
            fake.environment,
            lambda: len(fake.asked("GET", STATUS)) >= 2,
        )
        assert not fake.asked("POST", f"{STATUS}/cancel")
    assert (ended.code, ended.out) == (130, "d-1\n")
    assert "ferryman cancel d-1" in ended.err
    assert "Traceback" not in ended.err


def test_an_answer_that_never_came_tells_how_to_ask_again(shell: Shell) -> None:
    shell.fake.script("POST", "/v1/deployment", drop())
    said = shell(*DEPLOY, "--instances", "a")
    assert (said.code, said.out) == (8, "")
    assert "--id d-1 won't start it twice" in said.err


def test_all_and_where_choose_from_every_page(shell: Shell) -> None:
    first = [instance(f"i-{n}", metadata={"zone": "a" if n % 2 else "b"}) for n in range(4)]
    second = [instance("i-4", metadata={"zone": "a"}, host_id="host-z")]

    def two_pages() -> None:
        shell.fake.script(
            "GET",
            "/v1/service/web/instances",
            ok(instance_page(first, 5)),
            ok(instance_page(second, 5, offset=4)),
        )

    for options, chosen in (
        (["--all"], ["i-0", "i-1", "i-2", "i-3", "i-4"]),
        (["--where", "zone=a"], ["i-1", "i-3", "i-4"]),
        (["--where", "zone=a", "--where", "host_id=host-z"], ["i-4"]),
        (["--where", "host=10.0.0.5", "--where", "zone=b"], ["i-0", "i-2"]),
    ):
        two_pages()
        ready_to_deploy(shell.fake)
        assert shell(*DEPLOY, *options).code == 0
        assert shell.fake.seen[-1].body["instances"] == chosen


def test_an_empty_choice_is_an_error_and_starts_nothing(shell: Shell) -> None:
    page = ok(instance_page([instance("a", metadata={"zone": "a"})], 1))
    shell.fake.script("GET", "/v1/service/web/instances", page)
    said = shell(*DEPLOY, "--where", "zone=z")
    assert said == Said(3, "", "ferryman: no instance of web has zone=z\n")
    assert not shell.fake.asked("POST", "/v1/deployment")
