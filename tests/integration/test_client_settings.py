"""Where the client library takes its settings from: the environment, then a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.client import Client
from protocol.errors import InvalidRequestError
from tests.parts.fake_coordinator import TOKEN, FakeCoordinator, ok


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for name in ("URL", "TOKEN", "CA_FILE"):
        monkeypatch.delenv(f"FERRYMAN_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".config" / "ferryman"
    folder.mkdir(parents=True)
    return folder / "config.toml"


def test_the_environment_goes_before_the_file(
    fake: FakeCoordinator, no_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_environment.write_text(
        f'url = "https://127.0.0.1:1"\ntoken = "{TOKEN}"\nca_file = "{fake.ca_file}"\n'
    )
    with Client.from_env() as client:
        assert client.url == "https://127.0.0.1:1"
    monkeypatch.setenv("FERRYMAN_URL", fake.url)
    fake.script("GET", "/v1/token", ok({"tokens": []}))
    with Client.from_env() as client:
        assert client.list_tokens().tokens == []


def test_without_a_token_it_says_what_to_set(no_environment: Path) -> None:
    assert not no_environment.exists()
    with pytest.raises(InvalidRequestError, match=r"FERRYMAN_TOKEN.*config\.toml"):
        Client.from_env()


def test_the_url_defaults_to_this_machine(
    no_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FERRYMAN_TOKEN", f" {TOKEN}\n")
    with Client.from_env() as client:
        assert client.url == "https://127.0.0.1:7420"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tokem = 'secret-x'", "tokem"),
        ("token = 7", "token"),
        ("token = 'secret-x' 'y'", "not TOML"),
    ],
)
def test_a_wrong_configuration_file_is_named_with_its_key(
    no_environment: Path, text: str, said: str
) -> None:
    no_environment.write_text(text)
    with pytest.raises(InvalidRequestError, match=said) as caught:
        Client.from_env()
    assert str(no_environment) in caught.value.message
    assert "secret-x" not in caught.value.message
