"""What the command line says of mixed versions, and that its commands can be pasted."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.parts.command_line import on_terminal
from tests.parts.fake_coordinator import (
    accepted,
    fake_coordinator,
    ok,
    rollback,
    row,
    task,
)
from tests.parts.shell import STATUS, URL, Shell

DIGEST = "ab" * 32
BACK = {
    "rollback_id": "rollback-9",
    "service": "web",
    "target_version": "v1",
    "status": "pending",
    "instances": ["a"],
    "total_instances": 1,
    "started_at": "2026-01-02T03:04:05.678Z",
}


def partial(status: str = "failed", **runs: str) -> dict[str, Any]:
    """A deployment of v2 that ended so, with what each instance runs."""
    ended = {"v2": "completed"}
    rows = [row(name, ended.get(v, status), current_version=v) for name, v in runs.items()]
    counts: dict[str, int] = {}
    for version in runs.values():
        counts[version] = counts.get(version, 0) + 1
    return task(status, rows, versions=counts, package_url=URL, digest=DIGEST)


def mixed(shell: Shell, status: dict[str, Any]) -> list[str]:
    """What `ferryman status` says of mixed versions."""
    shell.fake.script("GET", STATUS, ok(status))
    lines = shell("status", "d-1").out.splitlines()
    starts = [n for n, line in enumerate(lines) if line.startswith("  mixed versions: ")]
    return lines[starts[0] :] if starts else []


def pasted(shell: Shell, line: str) -> dict[str, Any]:
    """Run a line of the output as a person would; returns the request's body."""
    shell.fake.script("POST", "/v1/deployment", ok(accepted()))
    shell.fake.script("POST", "/v1/rollback", ok(BACK))
    ferryman, *arguments = shlex.split(line)
    assert ferryman == "ferryman"
    assert shell(*arguments).code == 0
    body = shell.fake.seen[-1].body
    assert isinstance(body, dict)
    return body


def test_two_commands_would_end_it(shell: Shell) -> None:
    said = mixed(shell, partial(a="v2", b="v1", c="v2", d="v1", e="v1"))
    assert said == [
        "  mixed versions: 2 instances run v2, 3 run v1",
        "    all on v2:",
        f"      ferryman deploy web v2 --package-url {URL} --sha256 {DIGEST} --instances b,d,e",
        "    all on v1:",
        "      ferryman rollback web v1 --instances a,c",
    ]
    onward = pasted(shell, said[2])
    assert (onward["version"], onward["instances"]) == ("v2", ["b", "d", "e"])
    assert (onward["package_url"], onward["sha256"]) == (URL, DIGEST)
    back = pasted(shell, said[4])
    assert (back["target_version"], back["instances"]) == ("v1", ["a", "c"])


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_it_is_said_of_every_partial_end(shell: Shell, state: str) -> None:
    assert mixed(shell, partial(state, a="v2", b="v1"))
    assert not mixed(shell, partial(state, a="v1", b="v1"))


@pytest.mark.parametrize("state", ["pending", "in_progress", "completed"])
def test_it_is_not_said_of_what_goes_on_or_is_complete(shell: Shell, state: str) -> None:
    assert not mixed(shell, partial(state, a="v2", b="v1"))


def test_where_nothing_ran_before_there_is_nothing_to_go_back_to(shell: Shell) -> None:
    said = mixed(shell, partial(a="v2", b="", c=""))
    assert said[0] == "  mixed versions: 1 instance runs v2, 2 run nothing"
    assert said[2].endswith("--instances b,c")
    assert len(said) == 3


def test_several_other_versions_all_go_to_what_most_of_them_run(shell: Shell) -> None:
    said = mixed(shell, partial(a="v2", b="v1", c="v1", d="v0", e=""))
    assert said[0] == "  mixed versions: 1 instance runs v2, 2 run v1, 1 runs v0, 1 runs nothing"
    assert said[2].endswith("--instances b,c,d,e")
    assert said[4] == "      ferryman rollback web v1 --instances a,d"


def test_the_query_of_a_package_url_is_asked_for_and_not_shown(shell: Shell) -> None:
    status = partial(a="v2", b="v1") | {"package_url": f"{URL}?…"}
    line = mixed(shell, status)[2]
    assert "--package-url - --sha256" in line
    assert "https" not in line


def test_a_url_that_a_shell_would_read_is_quoted(shell: Shell) -> None:
    url = "https://packages.example.com/a;b&c$(d).tar.gz"
    said = mixed(shell, partial(a="v2", b="v1") | {"package_url": url})
    assert pasted(shell, said[2])["package_url"] == url


def test_many_instances_are_named_by_their_task_and_only_they_are_meant(shell: Shell) -> None:
    runs = {f"i{n}": "v2" if n % 2 else "v1" for n in range(60)} | {"none": ""}
    said = mixed(shell, partial(**runs))
    assert said[2].endswith(f"--sha256 {DIGEST} --rest-of d-1")
    assert said[4] == "      ferryman rollback web v1 --rest-of d-1"
    rest = [name for name, version in runs.items() if version != "v2"]
    assert pasted(shell, said[2])["instances"] == rest
    switched = [name for name, version in runs.items() if version == "v2"]
    assert pasted(shell, said[4])["instances"] == switched


def test_after_a_rollback_it_goes_on_or_is_undone(shell: Shell) -> None:
    runs = {"a": "v1", "b": "v2", "c": ""}
    rows = [row(n, "failed", current_version=v, target_version="v1") for n, v in runs.items()]
    status = rollback("failed", rows, "rollback-1", versions={"v1": 1, "v2": 1, "": 1})
    shell.fake.script("GET", "/v1/rollback/rollback-1", ok(status))
    *_, first, one, onward, other, undo = shell("status", "rollback-1").out.splitlines()
    assert first == "  mixed versions: 1 instance runs v1, 1 runs v2, 1 runs nothing"
    assert (one, other) == ("    all on v1:", "    all on v2:")
    assert pasted(shell, onward)["instances"] == ["b"]
    body = pasted(shell, undo)
    assert (body["target_version"], body["instances"]) == ("v2", ["a"])


def test_what_came_of_it_is_told_and_the_commands_stand_nevertheless(shell: Shell) -> None:
    status = partial(a="v2", b="v1") | {"rollout": {"led_to": ["rollback-1", "rollback-2"]}}
    said = mixed(shell, status)
    assert said == [
        "  mixed versions: 1 instance runs v2, 1 runs v1",
        "    what came of it:",
        "      ferryman status rollback-2",
        "    all on v2:",
        f"      ferryman deploy web v2 --package-url {URL} --sha256 {DIGEST} --instances b",
        "    all on v1:",
        "      ferryman rollback web v1 --instances a",
    ]
    assert pasted(shell, said[4])["instances"] == ["b"]
    assert pasted(shell, said[6])["instances"] == ["a"]


def test_a_retry_that_failed_again_in_part_tells_both_commands(shell: Shell) -> None:
    again = {"rollout": {"follows": "d-0", "relation": "retry"}}
    said = mixed(shell, partial(a="v2", b="v1") | again)
    assert [line.strip() for line in said[1::2]] == ["all on v2:", "all on v1:"]


def each_to_its_own(status: str, **rows: tuple[str, str, str]) -> dict[str, Any]:
    """A rollback with several targets: how each ended, what it runs, and what it was to run."""
    told = [
        row(name, ended, current_version=runs, target_version=target)
        for name, (ended, runs, target) in rows.items()
    ]
    counts: dict[str, int] = {}
    for _, runs, _ in rows.values():
        counts[runs] = counts.get(runs, 0) + 1
    return rollback(status, told, "rollback-1", versions=counts, target_version="@previous")


def of_rollback(shell: Shell, status: dict[str, Any]) -> list[str]:
    """What `ferryman status` says of a rollback's mixed versions."""
    shell.fake.script("GET", "/v1/rollback/rollback-1", ok(status))
    lines = shell("status", "rollback-1").out.splitlines()
    starts = [n for n, line in enumerate(lines) if line.startswith("  mixed versions: ")]
    return lines[starts[0] :] if starts else []


def test_where_each_has_a_target_of_its_own_the_rest_is_retried_or_all_go_back(
    shell: Shell,
) -> None:
    status = each_to_its_own(
        "failed",
        a=("completed", "v1", "v1"),
        b=("failed", "v3", "v1"),
        c=("completed", "v0", "v0"),
        d=("cancelled", "v3", "v0"),
        e=("failed", "", "v1"),
    )
    said = of_rollback(shell, status)
    assert said == [
        "  mixed versions: 2 instances run v3, 1 runs v1, 1 runs v0, 1 runs nothing",
        "    each on its own target:",
        "      ferryman retry rollback-1",
        "    all on v3:",
        "      ferryman rollback web v3 --instances a,c",
    ]
    shell.fake.script("POST", "/v1/rollback/rollback-1/retry", ok(BACK))
    assert shell(*shlex.split(said[2])[1:]).code == 0
    assert pasted(shell, said[4])["instances"] == ["a", "c"]


def test_with_one_target_for_all_an_each_to_its_own_rollback_has_a_command_on(
    shell: Shell,
) -> None:
    status = each_to_its_own("failed", a=("completed", "v1", "v1"), b=("failed", "v2", "v1"))
    assert [line.strip() for line in of_rollback(shell, status)[1:]] == [
        "all on v1:",
        "ferryman rollback web v1 --instances b",
        "all on v2:",
        "ferryman rollback web v2 --instances a",
    ]


def test_where_nothing_failed_there_is_nothing_to_retry(shell: Shell) -> None:
    status = each_to_its_own("failed", a=("completed", "v3", "v1"), b=("completed", "v0", "v0"))
    assert [line.strip() for line in of_rollback(shell, status)[1:]] == [
        "all on v3:",
        "ferryman rollback web v3 --instances b",
    ]


def test_where_each_runs_the_version_of_its_own_nothing_is_to_be_ended(shell: Shell) -> None:
    status = each_to_its_own("failed", a=("completed", "v1", "v1"), b=("failed", "v0", "v0"))
    assert of_rollback(shell, status) == []


def test_the_rest_of_a_task_that_is_whole_is_an_error_and_starts_nothing(shell: Shell) -> None:
    shell.fake.script("GET", STATUS, ok(partial(a="v2", b="v2")))
    said = shell("deploy", "web", "v2", "--package-url", URL, "--rest-of", "d-1")
    assert said.code == 3
    assert said.err == "ferryman: no instance of d-1 runs anything but v2\n"
    assert not shell.fake.asked("POST", "/v1/deployment")


def test_a_command_is_never_broken_on_a_narrow_terminal(tmp_path: Path) -> None:
    with fake_coordinator(tmp_path) as fake:
        fake.script("GET", STATUS, ok(partial(a="v2", b="v1")))
        seen = on_terminal(["status", "d-1"], fake.environment, columns=40)
    command = f"ferryman deploy web v2 --package-url {URL} --sha256 {DIGEST} --instances b"
    assert f"      {command}" in seen.out.splitlines()
