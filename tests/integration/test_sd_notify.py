"""The notification protocol against a real datagram socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from protocol.sd_notify import READY, notify, watchdog_interval

Listen = Callable[[str], socket.socket]


@pytest.fixture
def listen() -> Iterator[Listen]:
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    opened.settimeout(5)

    def bind(address: str) -> socket.socket:
        opened.bind(address)
        return opened

    with opened:
        yield bind


def test_a_path_socket_gets_the_state(
    listen: Listen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = listen(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    assert notify(READY)
    assert listener.recv(100) == b"READY=1"


def test_an_abstract_socket_gets_the_state(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = listen(f"\0ferryman-test-{os.getpid()}")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@ferryman-test-{os.getpid()}")
    assert notify("STATUS=two instances")
    assert listener.recv(100) == b"STATUS=two instances"


@pytest.mark.parametrize("address", [None, "", "relative", "/no/such/socket"])
def test_without_a_listener_nothing_happens(
    address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not notify(READY)


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        (None, None, None),
        ("0", None, None),
        ("soon", None, None),
        ("30000000", None, 15.0),
        ("30000000", "own", 15.0),
        ("30000000", "1", None),
    ],
)
def test_the_watchdog_is_fed_at_half_of_its_time_by_the_watched_process_only(
    usec: str | None, pid: str | None, expected: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("WATCHDOG_USEC", usec), ("WATCHDOG_PID", pid)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, str(os.getpid()) if value == "own" else value)
    assert watchdog_interval() == expected
