"""`ferryman-agent check`: every weak place that it names, opened up in a real folder."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.e2e.checks.place import HEAD, Place
from tests.lab.needs import need_root
from tests.parts.in_reach import give_away

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "hunter2-of-the-environment"
UNIT = '[[instances]]\nid = "two"\nservice = "s"\ndriver = "systemd"\nunit = "two.service"\n'
HEALTH = "[instances.health_check]\n"


def _releases_for_a_group(releases: Path) -> None:
    releases.mkdir(parents=True)
    releases.chmod(0o775)


AGENT: dict[str, tuple[Callable[[Place], object], str]] = {
    "config": (lambda at: at.agent_toml.chmod(0o666), "it decides what runs on this host"),
    "environment": (
        lambda at: at.add(f'environment = {{ PASSWORD = "{SECRET}" }}\n'),
        "agent.toml: others than its owner can read it (mode 0644), and it holds secrets",
    ),
    "state": (lambda at: at.state.chmod(0o777), "state: others than its owner can change it"),
    "identity": (
        lambda at: (at.state / "agent.pem").chmod(0o640),
        "agent.pem: others than its owner can read it (mode 0640)",
    ),
    "root": (
        lambda at: _releases_for_a_group(at.state / "instances/one/releases"),
        "releases: others than its owner can change it (mode 0775), and it decides what one runs",
    ),
    "http": (
        lambda at: at.add(HEALTH + 'http = "http://10.0.0.1:8080/healthz"\n'),
        "instances: one: health_check: http://10.0.0.1:8080/healthz goes over the network",
    ),
    "tcp": (
        lambda at: at.add(HEALTH + 'tcp = "service.example.com:80"\n'),
        "instances: one: health_check: service.example.com:80 goes over the network",
    ),
    "no authority": (
        lambda at: (at.state / "ca.pem").write_text("no"),
        "ca.pem: holds no certificate in PEM",
    ),
    "keys": (
        lambda at: at.declare(head='packages.allowed_hosts = ["packages.example.com"]'),
        "packages.trusted_keys: there are none",
    ),
    "hosts": (
        lambda at: at.declare(head=re.sub(r", allowed_hosts = [^}]*", "", HEAD)),
        "packages.allowed_hosts: it is not set",
    ),
    "package_ca_file is missing": (
        lambda at: at.agent_toml.write_text(
            'package_ca_file = "/none.pem"\n' + at.agent_toml.read_text()
        ),
        "package_ca_file: /none.pem: cannot be read: No such file",
    ),
}


@pytest.mark.parametrize("case", AGENT)
async def test_what_is_weak_at_the_agent_is_named(place: Place, case: str) -> None:
    open_up, expected = AGENT[case]
    open_up(place)
    if case == "root":
        give_away(place.state)
    found = place.agent()
    assert [one for one in found if expected in one], found
    assert len(found) == 1, found
    assert SECRET not in found[0]


@pytest.mark.parametrize(
    "check", ['http = "https://10.0.0.1/"', 'http = "http://127.0.0.1/"', 'tcp = "[::1]:9"']
)
async def test_a_health_check_that_nobody_can_forge_is_not_weak(place: Place, check: str) -> None:
    place.add(f"{HEALTH}{check}\n")
    assert place.agent() == []


async def test_a_join_token_is_named_once_the_host_has_joined(place: Place) -> None:
    secret = place.folder / "join.token"
    secret.write_text("ferryman-join-1.secret")
    secret.chmod(0o600)
    settings = place.agent_toml.read_text()
    place.agent_toml.write_text(f'join_token_file = "{secret}"\n{settings}')
    (told,) = place.agent()
    assert (
        told == f"join_token_file: {secret}: this host has joined and needs it no more; rm {secret}"
    )

    (place.state / "agent.pem").rename(place.state / "gone")
    assert place.agent() == []
    secret.chmod(0o644)
    (told,) = place.agent()
    assert told.endswith(f"and it holds secrets; chmod 0600 {secret}")

    (place.state / "gone").rename(place.state / "agent.pem")
    place.agent_toml.write_text(f'join_token = "{secret.read_text()}"\n{settings}')
    place.agent_toml.chmod(0o600)
    (told,) = place.agent()
    assert told == "join_token: this host has joined and needs it no more; remove it"


async def test_an_agents_certificates_that_end_are_named(place: Place) -> None:
    later = place.agent(timedelta(days=3651))
    assert [one for one in later if "agent.pem: the certificate ended on" in one]
    assert [one for one in later if "ca.pem: the certificate ended on" in one]
    packages = place.folder / "packages-ca.pem"
    packages.write_bytes((place.state / "ca.pem").read_bytes())
    settings = f'package_ca_file = "{packages}"\n' + place.agent_toml.read_text()
    place.agent_toml.write_text(settings)
    assert place.agent() == []
    later = place.agent(timedelta(days=3651))
    assert [one for one in later if "packages-ca.pem: the certificate ended on" in one]
    packages.chmod(0o666)
    (told,) = place.agent()
    assert "it decides which package servers are believed" in told


async def test_an_agent_that_is_root_is_named_with_what_is_root_through_it(place: Place) -> None:
    need_root("being root")
    os.chown(place.state, 0, 0)
    (told,) = [one for one in place.agent() if "user id 65534" not in one]
    assert told.startswith("instances: one: the agent is root, and so are the services")
    place.add('user = "user-service"\n')
    assert not [one for one in place.agent() if "the agent is root" in one]
    place.declare(UNIT)
    (told,) = place.agent()
    assert told.startswith("agent: it runs as root, and all its instances have the driver systemd")


async def test_a_folder_of_releases_that_belongs_to_somebody_else_is_named(place: Place) -> None:
    need_root("giving files away")
    root = place.state / "instances/one"
    root.mkdir(parents=True, exist_ok=True)
    os.chown(root, 1, 1)
    (told,) = place.agent()
    assert told.startswith(f"{root}: it belongs to the user id 1, and it decides what one runs")
