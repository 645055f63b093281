"""Command lines that run in this process against a scripted coordinator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from coordinator.cli.main import run
from tests.parts.fake_coordinator import FakeCoordinator, accepted, fake_coordinator, ok

URL = "https://packages.example.com/web.tar.gz"
DEPLOY = ["deploy", "web", "v2", "--package-url", URL, "--id", "d-1"]
STATUS = "/v1/deployment/d-1"
ESCAPE = "\x1b]0;owned\x07\u202e[red]"


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


class Shell:
    """Runs command lines in this process with the fake's address in the environment."""

    def __init__(self, fake: FakeCoordinator, capture: pytest.CaptureFixture[str]) -> None:
        self.fake = fake
        self._capture = capture

    def __call__(self, *arguments: str) -> Said:
        code = run(arguments)
        out, err = self._capture.readouterr()
        assert "Traceback" not in out + err
        return Said(code, out, err)


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Shell]:
    with fake_coordinator(tmp_path) as fake:
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("HOME", str(tmp_path))
        yield Shell(fake, capsys)


def ready_to_deploy(fake: FakeCoordinator, *statuses: dict[str, Any]) -> None:
    fake.script("POST", "/v1/deployment", ok(accepted()))
    fake.script("GET", STATUS, *(ok(status) for status in statuses))
