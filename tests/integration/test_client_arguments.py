"""The client library refuses a wrong argument by its name, before anything is sent."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from coordinator.client import Client
from protocol.errors import InvalidRequestError
from tests.parts.fake_coordinator import TOKEN, FakeCoordinator


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda c: c.get_deployment_status("../x"), "deploy_id"),
        (lambda c: c.cancel_deployment(""), "deploy_id"),
        (lambda c: c.get_rollback_status("a/b"), "rollback_id"),
        (lambda c: c.cancel_rollback(7), "rollback_id"),
        (lambda c: c.pause_deployment("../x"), "deploy_id"),
        (lambda c: c.promote_rollback(""), "rollback_id"),
        (lambda c: c.retry_deployment("d-1", "../x"), "new_id"),
        (lambda c: c.rollback_deployment("d-1", timeout=0), "timeout"),
        (lambda c: c.get_service_instance_versions("a b"), "service_name"),
        (lambda c: c.get_service_instance_versions("web", "yes"), "include_stopped"),
        (lambda c: c.get_service_instance_versions("web", at="noon"), "at"),
        (lambda c: c.get_service_instance_versions("web", at=datetime(2026, 11, 1)), "at"),
        (lambda c: c.get_deployment_timeline("a/b"), "deploy_id"),
        (lambda c: c.get_rollback_timeline("a/b"), "rollback_id"),
        (lambda c: c.get_rollback_readiness("a b"), "service_name"),
        (lambda c: c.get_rollback_readiness("web", 7), "version"),
        (lambda c: c.get_instance_version_history("a..b"), "instance_id"),
        (lambda c: c.get_instance_version_history("a", 0), "limit"),
        (lambda c: c.get_instance_version_history("a", True), "limit"),
        (lambda c: c.get_instance_version_history("a", 1, -1), "offset"),
        (lambda c: c.get_system_stats("2h"), "period"),
        (lambda c: c.list_hosts(limit=1001), "limit"),
        (lambda c: c.revoke_token("\x1b"), "token_id"),
        (lambda c: next(iter(c.events(-1))), "after"),
    ],
)
def test_a_wrong_argument_is_refused_by_name_before_anything_is_sent(
    fake: FakeCoordinator, client: Client, call: Any, field: str
) -> None:
    with pytest.raises(InvalidRequestError, match=rf"^{field}: must be") as caught:
        call(client)
    assert caught.value.details[0]["field"] == field
    assert not fake.seen


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:7420", "127.0.0.1:7420", "https://", "https://u:p@h:1", "https://h:x", ""],
)
def test_only_https_urls_are_taken(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="https://"):
        Client(url, TOKEN)


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "tökén"])
def test_a_token_that_is_none_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"^token: ") as caught:
        Client("https://127.0.0.1:7420", token)
    assert not token or token not in caught.value.message


def test_an_authority_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"absent\.pem can't be read: No such file"):
        Client("https://127.0.0.1:7420", TOKEN, tmp_path / "absent.pem")
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(InvalidRequestError, match=r"empty\.pem holds no certificate"):
        Client("https://127.0.0.1:7420", TOKEN, tmp_path / "empty.pem")
