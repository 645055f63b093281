"""What gets into a row of the audit trail: bounded, on one line, without secrets."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.core.evidence import MOST_NAMES, said, text, versions
from protocol.models import DeployParams
from protocol.params import MAX_INSTANCES

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=40) | st.dictionaries(st.text(), inner, max_size=40),
    max_leaves=60,
)


@settings(max_examples=40)
@given(st.dictionaries(st.text(), anything, max_size=60))
def test_anything_becomes_json_that_is_bounded_and_on_one_line(value: dict[str, Any]) -> None:
    made = said(value)
    written = json.dumps(made, ensure_ascii=False, allow_nan=False)
    assert written.isprintable()
    written.encode()
    assert json.loads(written) == made
    assert len(written) < 1_000_000


def test_the_largest_deployment_takes_little_room() -> None:
    params = DeployParams(
        service="s" * 128,
        version="v" * 128,
        instances=[f"{n:0>128}" for n in range(MAX_INSTANCES)],
        package_url="https://packages.example.com/" + "x" * 7900,
        deploy_id="d" * 128,
    )
    kept = said(params.model_dump())
    assert kept["instances"][-1] == f"… and {MAX_INSTANCES - MOST_NAMES} more"
    before = said(versions((name, "v1") for name in params.instances))
    assert before["versions"] == {"v1": MAX_INSTANCES}
    assert len(json.dumps(kept)) + len(json.dumps(before)) < 10_000


def test_versions_are_counted_and_an_instance_may_be_called_anything() -> None:
    running = [("token", "v1"), ("secret", "v1"), ("i-3", ""), ("i-4", "v2")]
    assert said(versions(running)) == {
        "versions": {"v1": 2, "none": 1, "v2": 1},
        "instances": {"token": "v1", "secret": "v1", "i-3": "none", "i-4": "v2"},
    }


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://h.example/v2.tar.gz?X-Signature=abc&y=1", "https://h.example/v2.tar.gz?…"),
        ("https://h.example/v2.tar.gz#abc", "https://h.example/v2.tar.gz?…"),
        ("https://h.example?abc", "https://h.example?…"),
        ("https://h.example/v2.tar.gz", "https://h.example/v2.tar.gz"),
        ("fetch HTTPS://h/a?s=abc and https://h/b?abc", "fetch HTTPS://h/a?… and https://h/b?…"),
        ("https://user:abc@h.example/v2.tar.gz", "https://h.example/v2.tar.gz"),
    ],
)
def test_a_url_loses_what_may_be_a_secret_in_it(url: str, kept: str) -> None:
    assert text(url) == kept
    assert said({"package_url": url, "nested": {"urls": [url]}}) == {
        "package_url": kept,
        "nested": {"urls": [kept]},
    }


@pytest.mark.parametrize("name", ["token", "secret", "csr", "key", "password"])
def test_what_is_called_a_secret_is_left_out(name: str) -> None:
    assert said({name: "s3cret", "host_id": "host-a"}) == {"host_id": "host-a"}


@pytest.mark.parametrize("kind", ["ferryman-admin-", f"ferryman-join-1.{'a' * 64}."])
def test_a_token_loses_its_secret_wherever_it_stands(kind: str) -> None:
    token = kind + secrets.token_urlsafe(32)
    assert text(f"no token {token}, sorry") == f"no token {kind}…, sorry"
    assert said({"token_id": token}) == {"token_id": f"{kind}…"}


def test_control_characters_are_escaped_and_long_texts_cut() -> None:
    assert text("a\x1b[2J\n\u202eb\ud800") == "a\\x1b[2J\\n\\u202eb\\ud800"
    assert len(text("x" * 10_000)) == 256
    assert text("x" * 10_000).endswith("…")
    assert said({"at": datetime(2026, 3, 1, tzinfo=UTC)}) == {"at": "2026-03-01T00:00:00+00:00"}
