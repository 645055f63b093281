"""The client library: a refusal is the exception of its type, all else that fails an outage."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from coordinator.client import Client
from protocol.errors import (
    ConflictError,
    FerrymanError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)
from tests.parts.fake_coordinator import (
    TOKEN,
    FakeCoordinator,
    Reply,
    drop,
    fake_coordinator,
    hang,
    ok,
    refusal,
)


def closed_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequestError,
        UnauthenticatedError,
        PermissionDeniedError,
        NotFoundError,
        ConflictError,
        UnavailableError,
    ],
)
def test_a_refusal_becomes_the_exception_that_its_type_names(
    fake: FakeCoordinator, client: Client, error: type[FerrymanError]
) -> None:
    details = [{"field": "x", "message": "y"}]
    fake.script("GET", "/v1/system/health", refusal(error.code, error.type, "it says why", details))
    with pytest.raises(error, match="it says why") as caught:
        client.get_system_health()
    assert type(caught.value) is error
    assert caught.value.details == details


def test_a_refusal_without_a_known_type_goes_by_its_status(
    fake: FakeCoordinator, client: Client
) -> None:
    fake.script("GET", "/v1/system/health", refusal(409, "something_new", "no"))
    with pytest.raises(ConflictError):
        client.get_system_health()
    fake.script("GET", "/v1/system/health", refusal(418, "teapot", "no"))
    with pytest.raises(FerrymanError):
        client.get_system_health()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(502, b"<html>Bad Gateway</html>", "text/html"),
        Reply(200, b"[]"),
        Reply(200, b"{not json"),
        Reply(200, b"[" * 100_000),
        Reply(302, b"", "text/plain"),
        ok({"status": "sideways"}),
        ok(None),
        drop(),
    ],
)
def test_what_no_coordinator_says_is_unavailable(
    fake: FakeCoordinator, client: Client, reply: Reply
) -> None:
    fake.script("GET", "/v1/system/health", reply)
    with pytest.raises(UnavailableError, match=r"https://127\.0\.0\.1"):
        client.get_system_health()


def test_nobody_listening_is_unavailable_and_names_the_url() -> None:
    url = f"https://127.0.0.1:{closed_port()}"
    with Client(url, TOKEN) as client, pytest.raises(UnavailableError, match="refused") as caught:
        client.get_system_health()
    assert url in caught.value.message


def test_an_unknown_host_is_unavailable() -> None:
    with (
        Client("https://nowhere.invalid:7420", TOKEN) as client,
        pytest.raises(UnavailableError, match=r"nowhere\.invalid"),
    ):
        client.get_system_health()


def test_an_unknown_authority_is_told_with_the_remedy(fake: FakeCoordinator) -> None:
    with (
        Client(fake.url, TOKEN) as client,
        pytest.raises(UnavailableError, match=r"not trusted.*--ca-file"),
    ):
        client.get_system_health()
    assert not fake.seen


def test_a_certificate_for_another_name_is_refused_unless_that_name_is_asked_for(
    tmp_path: Path,
) -> None:
    with fake_coordinator(tmp_path, names=("coordinator.ferryman.internal",)) as fake:
        with (
            Client(fake.url, TOKEN, fake.ca_file) as client,
            pytest.raises(UnavailableError, match=r"mismatch.*\[tls\] names"),
        ):
            client.get_system_health()
        assert not fake.seen
        fake.script("GET", "/v1/token", ok({"tokens": []}))
        name = "coordinator.ferryman.internal"
        with Client(fake.url, TOKEN, fake.ca_file, server_name=name) as client:
            assert client.list_tokens().tokens == []


def test_a_server_without_tls_is_unavailable() -> None:
    with socket.socket() as plain:
        plain.bind(("127.0.0.1", 0))
        plain.listen()
        url = f"https://127.0.0.1:{plain.getsockname()[1]}"
        with (
            Client(url, TOKEN, timeout=0.3) as client,
            pytest.raises(UnavailableError, match=r"did not answer within 0\.3 s"),
        ):
            client.get_system_health()


def test_no_answer_in_time_is_unavailable(fake: FakeCoordinator) -> None:
    fake.script("GET", "/v1/system/health", hang())
    with (
        Client(fake.url, TOKEN, fake.ca_file, timeout=0.3) as client,
        pytest.raises(UnavailableError, match="did not answer"),
    ):
        client.get_system_health()
