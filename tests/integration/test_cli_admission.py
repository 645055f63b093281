"""Who is let in, by the command line: tokens, their restrictions, and decisions about hosts."""

from __future__ import annotations

import pytest

from tests.parts.fake_coordinator import AT, host, ok, token
from tests.parts.shell import Shell


def test_a_new_token_is_the_last_word_on_stdout(shell: Shell) -> None:
    made = token("join")
    secret = "ferryman-join-1.abc.def"
    shell.fake.script("POST", "/v1/token", ok(made | {"secret": secret}))
    said = shell("token", "create", "--role", "join", "--ttl", "1h30m")
    assert said.out.split()[-1] == secret
    assert shell.fake.seen[-1].body == {"role": "join", "ttl": 5400, "name": ""}
    shell.fake.script("GET", "/v1/token", ok({"tokens": [made]}))
    assert "t-1" in shell("token", "list").out
    shell.fake.script("POST", "/v1/token/t-1/revoke", ok(made | {"revoked_at": AT}))
    assert "revoked   2026-01-02T03:04:05Z" in shell("token", "revoke", "t-1").out


def test_a_token_is_restricted_by_as_many_patterns_as_are_given(shell: Shell) -> None:
    made = token("deployer", name="ci", last_used_at=AT, services=["web-*", "api"])
    shell.fake.script("POST", "/v1/token", ok(made | {"secret": "ferryman-deployer-x"}))
    words = ["token", "create", "--role", "deployer", "--name", "ci", "--ttl", "30d"]
    said = shell(*words, "--service", "web-*", "--service", "api")
    assert shell.fake.seen[-1].body == {
        "role": "deployer",
        "ttl": 2_592_000,
        "name": "ci",
        "services": ["web-*", "api"],
    }
    assert said.out.split()[-1] == "ferryman-deployer-x"
    assert "services  web-* api\n" in said.out
    shell.fake.script("GET", "/v1/token", ok({"tokens": [made]}))
    header, row = shell("token", "list").out.splitlines()
    assert header.split()[:4] == ["TOKEN", "ROLE", "NAME", "SERVICES"]
    assert row.split()[:5] == ["t-1", "deployer", "ci", "web-*", "api"]
    assert row.split()[5:] == ["2026-01-02T03:04:05Z"] * 3 + ["no", "-", "-"]


@pytest.mark.parametrize(
    ("role", "pattern"), [("viewer", "web/*"), ("viewer", "[a"), ("admin", "web-*"), ("join", "a")]
)
def test_a_restriction_that_cannot_be_exits_with_2_and_asks_nothing(
    shell: Shell, role: str, pattern: str
) -> None:
    said = shell("token", "create", "--role", role, "--service", pattern)
    assert (said.code, said.out) == (2, "")
    assert "services" in said.err
    assert shell.fake.seen == []


def test_a_join_token_is_made_for_some_hosts_or_for_one(shell: Shell) -> None:
    made = token("join", uses=1, used=0, host_id="host-a")
    shell.fake.script("POST", "/v1/token", ok(made | {"secret": "s"}))
    said = shell("token", "create", "--role", "join", "--uses", "1", "--host", "host-a")
    assert shell.fake.seen[-1].body == {"role": "join", "name": "", "uses": 1, "host_id": "host-a"}
    assert "hosts     0 of 1" in said.out
    assert "lets in   host-a" in said.out
    refused = shell("token", "create", "--role", "viewer", "--uses", "1")
    assert refused.code == 2
    assert "uses: is for role join only" in refused.err


def test_a_decision_about_a_host_shows_the_host(shell: Shell) -> None:
    key = "ab" * 32
    made = host("rejected", fingerprint=key, state_since=AT)
    for verb in ("approve", "reject", "revoke"):
        shell.fake.script("POST", f"/v1/host/host-a/{verb}", ok(made))
        options = [] if verb == "revoke" else ["--fingerprint", key]
        said = shell("host", verb, "host-a", *options)
        assert said.code == 0, said.err
        assert f"key      {key}" in said.out
        body = {"host_id": "host-a", "fingerprint": key} if options else None
        assert shell.fake.seen[-1].body == body
    assert shell("host", "approve", "host-a", "--fingerprint", "x").code == 2
