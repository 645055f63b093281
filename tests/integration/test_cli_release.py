"""`ferryman release` and `ferryman prefetch`: what is kept on disk, on the command line."""

from __future__ import annotations

from typing import Any

from tests.parts.fake_coordinator import AT, ok, prefetch, prefetch_accepted, row
from tests.parts.shell import URL, Shell

PIN: dict[str, Any] = {
    "service": "web",
    "version": "v1+x",
    "created_at": AT,
    "created_by": "ci",
    "instances": 12,
    "on_disk": 9,
}


def test_a_version_is_pinned_and_unpinned(shell: Shell) -> None:
    for word in ("pin", "unpin"):
        path = f"/v1/service/web/version/v1%2Bx/{word}"
        shell.fake.script("POST", path, ok(PIN))
        said = shell("release", word, "web", "v1+x")
        assert said.code == 0
        assert "on disk  9 of 12\n" in said.out
        assert len(shell.fake.asked("POST", path)) == 1


def test_the_list_tells_how_many_have_it(shell: Shell) -> None:
    shell.fake.script("GET", "/v1/pin", ok({"pins": [PIN]}))
    header, row = shell("release", "list").out.splitlines()
    assert header.split() == ["SERVICE", "VERSION", "ON", "DISK", "PINNED", "BY"]
    assert row.split() == ["web", "v1+x", "9", "of", "12", "2026-01-02T03:04:05Z", "ci"]
    shell("release", "list", "web")
    assert [seen.query for seen in shell.fake.seen] == [{}, {"service": "web"}]


def test_an_empty_list_says_so(shell: Shell) -> None:
    shell.fake.script("GET", "/v1/pin", ok({"pins": []}))
    assert "nothing is pinned" in shell("release", "list").err


def test_a_malformed_version_exits_with_2_and_asks_nothing(shell: Shell) -> None:
    said = shell("release", "pin", "web", "v..1")
    assert said.code == 2
    assert "version: must be 1 to 128 of" in said.err
    assert shell.fake.seen == []


def test_a_prefetch_tells_its_id_first_and_waits_for_the_end(shell: Shell) -> None:
    shell.fake.script("POST", "/v1/prefetch", ok(prefetch_accepted()))
    rows = [row("a"), row("b", "failed", error_message="no space")]
    shell.fake.script("GET", "/v1/prefetch/prefetch-1", ok(prefetch("failed", rows)))
    words = ["prefetch", "web", "v2", "--package-url", URL, "--instances", "a,b"]
    said = shell(*words, "--timeout", "60", "--sha256", "ab" * 32, "--wait")
    assert (said.code, said.out) == (5, "prefetch-1\n")
    assert "prefetch prefetch-1: web v2 failed: 1 of 2 completed, 1 failed" in said.err
    assert shell.fake.asked("POST", "/v1/prefetch")[0].body == {
        "service": "web",
        "version": "v2",
        "instances": ["a", "b"],
        "package_url": URL,
        "timeout": 60,
        "sha256": "ab" * 32,
    }


def test_a_prefetch_has_the_id_that_was_chosen(shell: Shell) -> None:
    shell.fake.script("POST", "/v1/prefetch", ok(prefetch_accepted(prefetch_id="night")))
    words = ["prefetch", "web", "v2", "--package-url", URL, "--instances", "a", "--id", "night"]
    said = shell(*words, "--no-wait")
    assert (said.code, said.out) == (0, "night\n")
    body = shell.fake.seen[-1].body
    assert body is not None
    assert body["prefetch_id"] == "night"
