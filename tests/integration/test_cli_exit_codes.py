"""Whatever is wrong, from a flag to a defect, has its exit code and one clean line on stderr."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from protocol.errors import BY_TYPE, FerrymanError
from tests.parts.command_line import piped
from tests.parts.fake_coordinator import TOKEN, ok, refusal, row, task
from tests.parts.shell import DEPLOY, ESCAPE, STATUS, URL, Said, Shell


@pytest.mark.parametrize(
    "arguments",
    [
        DEPLOY,
        [*DEPLOY, "--all", "--instances", "a"],
        [*DEPLOY, "--where", "zone"],
        [*DEPLOY, "--all", "--rest-of", "d-0"],
        [*DEPLOY, "--instances", "a", "--wait-timeout", "15"],
        [*DEPLOY, "--instances", "a", "--wait-timeout", "0s"],
        ["deploy", "web", "v2", "--instances", "a"],
        ["rollback", "web", "--all"],
        ["rollback", "--instance", "a", "web", "v1"],
        ["rollback", "--instance", "a", "v1", "--all"],
        ["status", "--watch"],
        ["token", "create", "--role", "king"],
        ["-o", "yaml", "health"],
        ["nonsense"],
    ],
)
def test_wrong_usage_exits_with_2_and_asks_nothing(shell: Shell, arguments: list[str]) -> None:
    said = shell(*arguments)
    assert (said.code, said.out) == (2, "")
    assert "Error: " in said.err
    assert not shell.fake.seen


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([*DEPLOY, "--instances", "a,a"], "instances"),
        ([*DEPLOY, "--instances", "a", "--timeout", "0"], "timeout"),
        ([*DEPLOY, "--instances", "a", "--sha256", "x"], "sha256"),
        (["deploy", "..", "v2", "--package-url", URL, "--all"], "service_name"),
        (["deploy", "web", "v2", "--package-url", "http://x/y", "--instances", "a"], "package_url"),
        (["rollback", "web", "", "--instances", "a"], "target_version"),
        (["status", "a/b"], "deploy_id"),
        (["history", "x", "--limit", "0"], "limit"),
        (["instances", "web", "--status", "asleep"], "status"),
        (["stats", "--period", "2h"], "period"),
        (["--url", "http://127.0.0.1", "health"], "url"),
        (["--ca-file", "/nowhere.pem", "health"], "ca_file"),
    ],
)
def test_an_invalid_value_is_named_exits_with_2_and_asks_nothing(
    shell: Shell, arguments: list[str], named: str
) -> None:
    said = shell(*arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"ferryman: {named}: ")
    assert not shell.fake.seen


@pytest.mark.parametrize("error", BY_TYPE.values())
def test_every_refusal_has_its_exit_code(shell: Shell, error: type[FerrymanError]) -> None:
    shell.fake.script("GET", "/v1/system/health", refusal(error.code, error.type, "it says why"))
    assert shell("health") == Said(error.exit_code, "", "ferryman: it says why\n")


def test_nobody_listening_exits_with_8(shell: Shell) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{unused.getsockname()[1]}"
    said = shell("--url", url, "health")
    assert said.code == 8
    assert url in said.err


def test_no_token_exits_with_2_and_says_what_to_set(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FERRYMAN_TOKEN")
    said = shell("health")
    assert said.code == 2
    assert "FERRYMAN_TOKEN" in said.err


def test_flags_go_before_the_environment(shell: Shell) -> None:
    shell.fake.script("GET", "/v1/token", ok({"tokens": []}))
    assert shell("token", "list").code == 0
    assert shell("--token", "another", "token", "list").code == 4
    assert [seen.headers["authorization"] for seen in shell.fake.seen] == [
        f"Bearer {TOKEN}",
        "Bearer another",
    ]


def test_control_characters_and_markup_never_reach_the_output_raw(shell: Shell) -> None:
    bad = row("a", "failed", error_message=ESCAPE, reason=ESCAPE, current_version=ESCAPE)
    shell.fake.script("GET", STATUS, ok(task("failed", [bad], service=ESCAPE, digest=ESCAPE)))
    said = shell("status", "d-1", "--watch")
    shell.fake.script("GET", "/v1/system/health", refusal(409, "conflict", f"no\n{ESCAPE}"))
    refused = shell("health")
    assert "\\x1b]0;owned\\x07\\u202e[red]" in said.out
    assert not set("\x1b\x07\u202e") & set(said.out + said.err + refused.err)
    assert refused.err.count("\n") == 1


def test_an_unexpected_error_is_one_line_and_a_traceback_only_on_request(
    tmp_path: Path,
) -> None:
    broken = tmp_path / "ulid"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise ArithmeticError('broken on purpose')\n")
    arguments = ["deploy", "web", "v2", "--package-url", URL, "--instances", "a"]
    environment = {"PYTHONPATH": str(tmp_path)}
    ended = piped(arguments, environment)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.count("\n") == 1
    assert "ArithmeticError: broken on purpose" in ended.err
    assert "Traceback" in piped(arguments, environment | {"FERRYMAN_DEBUG": "1"}).err
