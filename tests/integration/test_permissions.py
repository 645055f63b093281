"""The table of permissions names every route, command and frame that there is, and holds.

A new one has no row: these tests fail until somebody has decided who may use it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, get_args

import click
import pytest
import trustme
from aiohttp import web

from coordinator import permissions
from coordinator.caller import Caller, Proof, Role
from coordinator.cli.main import ferryman, run
from coordinator.http.app import build_app
from coordinator.http.route import Answer, Route
from coordinator.http.routes import ROUTES
from coordinator.permissions import COMMANDS, FROM_AGENTS, TO_AGENTS, About, role_of_command
from protocol.codec import DecodeError, decode_from_agent, decode_from_coordinator, encode
from protocol.errors import PermissionDeniedError, UnauthenticatedError
from protocol.messages import ToAgent, ToCoordinator
from tests.integration.test_version_skew import FROM_AGENT, FROM_COORDINATOR
from tests.parts.fake_doors import FakeDoors
from tests.parts.http_server import Door, served
from tests.parts.routes import BODIES, WITH_TOKEN, named, path_of

# ---- routes ----------------------------------------------------------------


def test_every_route_stands_in_the_table_and_nothing_else() -> None:
    assert {route.name for route in ROUTES} == set(permissions.ROUTES)


def test_what_is_served_is_the_table_and_nothing_else() -> None:
    """Of the router itself: a handler that was added by hand stands in no table."""

    async def agents(request: web.Request) -> web.StreamResponse:
        return web.Response()

    app = build_app(FakeDoors(), agent_endpoint=agents)
    served = [(way.method, way.resource.canonical) for way in app.router.routes() if way.resource]
    assert len(served) == len(app.router.routes()) == len(set(served))
    table = {(route.method, route.path) for route in ROUTES}
    heads = {
        ("HEAD", route.path)
        for route in ROUTES
        if route.method == "GET" and route.answer in (Answer.ENVELOPE, Answer.DOCUMENT)
    }
    assert set(served) == table | heads


def test_a_route_that_does_not_stand_there_cannot_be_served() -> None:
    new = Route(method="GET", path="/v1/new", name="new", summary="", success="")
    with pytest.raises(KeyError, match="new"):
        new.permission  # noqa: B018 - this is what every request asks first


def test_who_may_do_what() -> None:
    by_role: dict[Role | None, set[str]] = {}
    for name, permission in permissions.ROUTES.items():
        by_role.setdefault(permission.role, set()).add(name)
    assert by_role[None] == {
        "livez",
        "readyz",
        "authority",
        "enroll",
        "ask_to_join",
        "connect",
    }
    assert by_role[Role.DEPLOYER] == {
        "execute_deployment",
        "cancel_deployment",
        "rollback_instance",
        "rollback_batch",
        "cancel_rollback",
        "prefetch",
        "cancel_prefetch",
        "pin_release",
        "unpin_release",
        "pause_deployment",
        "resume_deployment",
        "promote_deployment",
        "retry_deployment",
        "rollback_deployment",
        "pause_rollback",
        "resume_rollback",
        "promote_rollback",
        "retry_rollback",
    }
    assert {"create_token", "list_tokens", "revoke_token"} <= by_role[Role.ADMIN]
    assert Role.JOIN not in by_role


def test_what_changes_something_needs_more_than_to_look() -> None:
    for route in ROUTES:
        if route.changes and route.role is not None:
            assert route.role in (Role.DEPLOYER, Role.ADMIN), route.name


FOR_ALL_TO_SEE = {"authority_status"}


def test_what_is_of_the_installation_is_the_admins() -> None:
    """An admin is never restricted, so that nobody who is gets there."""
    for name, permission in permissions.ROUTES.items():
        if name in FOR_ALL_TO_SEE:
            assert (permission.role, permission.about) == (Role.VIEWER, About.INSTALLATION)
            continue
        assert (permission.about is About.INSTALLATION) == (permission.role is Role.ADMIN), name


@pytest.mark.parametrize("route", WITH_TOKEN, ids=named)
@pytest.mark.parametrize("role", [*(role.value for role in Role), ""])
async def test_each_role_on_each_route(door: Door, route: Route, role: str) -> None:
    headers = {"Authorization": f"Bearer {role}"} if role else {}
    async with door.client.request(
        route.method, path_of(route), json=BODIES.get(route.name), headers=headers
    ) as answer:
        assert route.role is not None
        if role and Role(role).includes(route.role):
            assert answer.status == 200
            return
        refused = await answer.json()
    expected = PermissionDeniedError if role else UnauthenticatedError
    assert (answer.status, refused["data"]["type"]) == (expected.code, expected.type)
    if role:
        assert f"needs the role {route.role.value}" in refused["message"]
        assert f"the token has the role {role}" in refused["message"]
    assert (door.doors.asked, door.doors.callers) == ([], [])


@pytest.mark.parametrize("route", ROUTES, ids=named)
async def test_the_service_is_asked_on_behalf_of_who_came(door: Door, route: Route) -> None:
    if route.answer is not Answer.ENVELOPE:
        return
    answer = await door.ask(route.method, path_of(route), json=BODIES.get(route.name))
    assert answer.status == 200
    (caller,) = door.doors.callers
    assert caller.address == "127.0.0.1"
    if route.role is None:
        assert (caller.proof, caller.role) == (Proof.NONE, None)
    else:
        assert (caller.proof, caller.role, caller.name) == (Proof.TOKEN, Role.ADMIN, "admin")


@pytest.mark.parametrize(
    "name", [n for n, p in permissions.ROUTES.items() if p.about is About.INSTALLATION]
)
def test_a_restriction_keeps_away_from_the_installation(name: str) -> None:
    """Even if somebody wrote such an admin's token into the database."""
    caller = Caller(proof=Proof.TOKEN, role=Role.ADMIN, services=("web-*",))
    with pytest.raises(PermissionDeniedError, match=r"all services.*restricted to web-\*"):
        permissions.admit(caller, permissions.ROUTES[name])


# ---- commands --------------------------------------------------------------


def commands(group: click.Group = ferryman, prefix: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield prefix + name


PACKAGE = ["--package-url", "https://packages.example.com/p.tar.gz"]
USES: dict[str, list[list[str]]] = {
    "deploy": [
        ["deploy", "web", "v1", *PACKAGE, "--instances", "i-1", "--plan"],
        ["deploy", "web", "v1", *PACKAGE, "--all", "--no-wait"],
        ["deploy", "web", "v1", *PACKAGE, "--rest-of", "rollback-1", "--no-wait"],
        ["deploy", "web", "v1", *PACKAGE, "--rest-of", "prefetch-1", "--no-wait"],
        ["deploy", "web", "v1", *PACKAGE, "--instances", "i-1", "--wait-timeout", "1s"],
    ],
    "status": [
        ["status"],
        ["status", "deploy-1"],
        ["status", "rollback-1"],
        ["status", "prefetch-1"],
    ],
    "why": [["why", "rollback-1"], ["why", "instance-1"]],
    "timeline": [["timeline", "deploy-1"], ["timeline", "rollback-1"]],
    "cancel": [["cancel", "deploy-1"], ["cancel", "rollback-1"], ["cancel", "prefetch-1"]],
    "pause": [["pause", "deploy-1"], ["pause", "rollback-1"]],
    "resume": [["resume", "deploy-1"], ["resume", "rollback-1"]],
    "promote": [["promote", "deploy-1"], ["promote", "rollback-1"]],
    "retry": [
        ["retry", "deploy-1", "--wait-timeout", "1s"],
        ["retry", "rollback-1", "--wait-timeout", "1s"],
    ],
    "rollback": [
        ["rollback", "web", "v1", "--all", "--no-wait"],
        ["rollback", "web", "v1", "--rest-of", "deploy-1", "--no-wait"],
        ["rollback", "web", "v1", "--rest-of", "prefetch-1", "--no-wait"],
        ["rollback", "--deployment", "deploy-1", "--no-wait"],
        ["rollback", "--instance", "i-1", "v1", "--no-wait"],
        ["rollback", "--instance", "i-1", "v1", "--wait-timeout", "1s"],
    ],
    "prefetch": [
        ["prefetch", "web", "v1", *PACKAGE, "--all", "--no-wait"],
        ["prefetch", "web", "v1", *PACKAGE, "--rest-of", "deploy-1", "--no-wait"],
        ["prefetch", "web", "v1", *PACKAGE, "--rest-of", "rollback-1", "--no-wait"],
        ["prefetch", "web", "v1", *PACKAGE, "--instances", "i-1", "--wait-timeout", "1s"],
    ],
    "versions": [["versions", "web"]],
    "instances": [["instances", "web"]],
    "history": [["history", "i-1"]],
    "ready": [["ready", "web"], ["ready", "web", "--version", "v1"]],
    "services": [["services"]],
    "strategies": [["strategies"]],
    "hosts": [["hosts"]],
    "host list": [["host", "list"]],
    "host approve": [["host", "approve", "host-a"]],
    "host reject": [["host", "reject", "host-a"]],
    "host revoke": [["host", "revoke", "host-a"]],
    "instance release": [["instance", "release", "i-1"]],
    "release list": [["release", "list"], ["release", "list", "web"]],
    "release pin": [["release", "pin", "web", "v1"]],
    "release unpin": [["release", "unpin", "web", "v1"]],
    "health": [["health"]],
    "stats": [["stats"]],
    "token create": [["token", "create", "--role", "viewer"]],
    "token list": [["token", "list"]],
    "token revoke": [["token", "revoke", "token-1"]],
    "audit": [["audit"], ["audit", "--verify"]],
    "authority status": [["authority", "status"]],
    "authority begin": [["authority", "begin"]],
    "authority switch": [["authority", "switch"]],
    "authority finish": [["authority", "finish"]],
    "authority abort": [["authority", "abort"]],
    "authority bundle": [["authority", "bundle"]],
}
NEED_NO_TOKEN = {"discover", "simulate", "completion"}


def test_every_command_stands_in_the_table_and_nothing_else() -> None:
    assert set(commands()) == set(COMMANDS)
    assert {name for routes in COMMANDS.values() for name in routes} <= set(permissions.ROUTES)


def test_the_commands_that_ask_nothing_need_no_token() -> None:
    assert {name for name in COMMANDS if role_of_command(name) is None} == NEED_NO_TOKEN
    assert set(USES) == set(COMMANDS) - NEED_NO_TOKEN


@pytest.fixture
async def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Door]:
    """A coordinator for command lines that run in this process."""
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with served(tls=tls) as serving:
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("FERRYMAN_URL", str(serving.client.make_url("")).rstrip("/"))
        monkeypatch.setenv("FERRYMAN_CA_FILE", str(tmp_path / "ca.pem"))
        yield serving


async def asked_by(shell: Door, arguments: list[str], role: Role) -> tuple[int, set[str]]:
    """The exit code of one command line, and the names of the routes that it reached."""
    shell.doors.asked.clear()
    code = await asyncio.to_thread(run, ["--token", role.value, *arguments])
    return code, {str(call[0]) for call in shell.doors.asked}


@pytest.mark.parametrize("name", USES)
async def test_a_command_asks_what_the_table_says(shell: Door, name: str) -> None:
    needed = role_of_command(name)
    assert needed is not None
    asked = set()
    for arguments in USES[name]:
        code, reached = await asked_by(shell, arguments, needed)
        assert code in (0, 9), arguments
        asked |= reached
    assert asked == set(COMMANDS[name])


@pytest.mark.parametrize("name", USES)
async def test_a_command_with_a_lower_role_exits_with_4(shell: Door, name: str) -> None:
    needed = role_of_command(name)
    assert needed is not None
    for role in Role:
        if not role.includes(needed):
            code, reached = await asked_by(shell, USES[name][-1], role)
            assert code == PermissionDeniedError.exit_code
            assert reached == set()


# ---- frames ----------------------------------------------------------------


def kinds(union: Any) -> set[type]:
    """The members of a tagged union."""
    return set(get_args(get_args(union)[0]))


def test_every_frame_stands_in_the_table_and_nothing_else() -> None:
    assert kinds(ToCoordinator) == set(FROM_AGENTS) == {type(frame) for frame in FROM_AGENT}
    assert kinds(ToAgent) == set(TO_AGENTS) == {type(frame) for frame in FROM_COORDINATOR}


@pytest.mark.parametrize("frame", FROM_AGENT, ids=lambda frame: frame.type)
def test_what_agents_say_no_agent_believes(frame: Any) -> None:
    with pytest.raises(DecodeError):
        decode_from_coordinator(encode(frame))


@pytest.mark.parametrize("frame", FROM_COORDINATOR, ids=lambda frame: frame.type)
def test_what_the_coordinator_says_no_agent_may_say(frame: Any) -> None:
    with pytest.raises(DecodeError):
        decode_from_agent(encode(frame))
