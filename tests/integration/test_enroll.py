"""Joining against a small coordinator with real TLS: what it may learn, and what stays behind."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import ssl
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from agent.enroll import EnrollError, enroll
from agent.identity import Identity
from coordinator.http.envelope import every_answer_in_the_envelope, success
from coordinator.http.params import Authority as AuthorityAnswer
from coordinator.http.params import Enrolment
from coordinator.pki import Authority, host_id_of
from protocol.errors import FerrymanError, UnauthenticatedError, UnavailableError
from protocol.messages import FIXED_SERVER_NAME


@dataclass
class SmallCoordinator:
    """The two routes of joining; remembers everything that it was sent."""

    authority: Authority
    shown: bytes = b""
    """The authority it claims to have, if another than its own."""
    refusal: FerrymanError | None = None
    certificate: Callable[[bytes, str], bytes] | None = None
    url: str = ""
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    received: list[tuple[str, str]] = field(default_factory=list)

    @property
    def token(self) -> str:
        return f"ferryman-join-1.{self.authority.ca_digest}.{self.secret}"

    async def tell_authority(self, request: web.Request) -> web.Response:
        await self._note(request)
        pem = self.shown or self.authority.ca_pem
        return success(AuthorityAnswer(authority=pem.decode()))

    async def enroll(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = await self._note(request)
        if self.refusal:
            raise self.refusal
        if body["token"] != self.token:
            raise UnauthenticatedError("the token is not known here")
        sign = self.certificate or self.authority.sign_agent
        made = sign(body["csr"].encode(), body["host_id"])
        return success(
            Enrolment(certificate=made.decode(), authority=self.authority.ca_pem.decode())
        )

    async def who(self, request: web.Request) -> web.Response:
        assert request.transport
        return web.json_response(host_id_of(request.transport.get_extra_info("peercert")))

    async def _note(self, request: web.Request) -> Any:
        body = await request.text()
        self.received.append((request.path, f"{request.raw_path} {request.raw_headers!r} {body}"))
        return json.loads(body) if body else {}


@asynccontextmanager
async def served(
    coordinator: SmallCoordinator, tls: ssl.SSLContext | None = None
) -> AsyncIterator[SmallCoordinator]:
    app = web.Application(middlewares=[every_answer_in_the_envelope])
    app.router.add_get("/v1/agent/authority", coordinator.tell_authority)
    app.router.add_post("/v1/agent/enroll", coordinator.enroll)
    app.router.add_get("/who", coordinator.who)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        context = tls or coordinator.authority.server_context()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        coordinator.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        yield coordinator
    finally:
        await runner.cleanup()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "coordinator")


@pytest.fixture
def foreign(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "foreign")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("*")}


def put(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)


async def refused(state: Path, url: str, token: str) -> EnrollError:
    with pytest.raises(EnrollError) as caught:
        await enroll(state, "host-a", url, token)
    parts = token.rsplit(".", 1)
    if len(parts[-1]) > 20:
        assert parts[-1] not in str(caught.value)
    assert Identity.load(state) is None
    return caught.value


async def test_a_host_joins_and_is_known_from_then_on(authority: Authority, state: Path) -> None:
    async with served(SmallCoordinator(authority)) as coordinator:
        identity = await enroll(state, "host-a", coordinator.url, coordinator.token)
        assert Identity.load(state) == identity
        assert (identity.host_id, identity.ca_digests) == ("host-a", (authority.ca_digest,))
        async with (
            aiohttp.ClientSession() as session,
            session.get(
                f"{coordinator.url}/who",
                ssl=identity.client_context(),
                server_hostname=FIXED_SERVER_NAME,
            ) as response,
        ):
            assert await response.json() == "host-a"
    modes = {name: stat.S_IMODE((state / name).stat().st_mode) for name in files(state)}
    assert modes == {"agent.pem": 0o600, "ca.pem": 0o644}
    assert not any("PRIVATE" in text for _, text in coordinator.received), "the key stays here"
    assert not any(coordinator.secret in text for text in files(state).values())


async def test_the_secret_goes_to_no_coordinator_of_another_authority(
    authority: Authority, foreign: Authority, state: Path
) -> None:
    ours = SmallCoordinator(authority)
    async with served(SmallCoordinator(foreign)) as other:
        error = await refused(state, other.url, ours.token)
    assert "not the coordinator of the join token" in error.message
    assert "No secret was sent" in error.message
    assert not error.passing
    assert [path for path, _ in other.received] == ["/v1/agent/authority"]
    assert not any(ours.secret in text for _, text in other.received)
    assert files(state) == {}


async def test_the_secret_goes_to_no_one_in_the_middle(
    authority: Authority, foreign: Authority, state: Path
) -> None:
    """Who shows the right authority and has no key of it gets no further than the handshake."""
    ours = SmallCoordinator(authority)
    middle = SmallCoordinator(foreign, shown=authority.ca_pem)
    async with served(middle):
        error = await refused(state, middle.url, ours.token)
    assert "certificate does not verify" in error.message
    assert [path for path, _ in middle.received] == ["/v1/agent/authority"]
    assert not any(ours.secret in text for _, text in middle.received)


async def test_another_certificate_of_the_authority_is_not_the_coordinators(
    authority: Authority, state: Path, tmp_path: Path
) -> None:
    """An agent that joined can't play the coordinator for the next one."""
    async with served(SmallCoordinator(authority)) as coordinator:
        await enroll(tmp_path / "rogue", "rogue", coordinator.url, coordinator.token)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "rogue/agent.pem")
    rogue = SmallCoordinator(authority)
    async with served(rogue, tls):
        await refused(state, rogue.url, rogue.token)
    assert [path for path, _ in rogue.received] == ["/v1/agent/authority"]


@pytest.mark.parametrize(
    "token",
    [
        "",
        "ferryman-admin-" + "x" * 43,
        "ferryman-join-2." + "0" * 64 + "." + "x" * 43,
        "ferryman-join-1." + "0" * 63 + "." + "x" * 43,
        "ferryman-join-1." + "0" * 64 + ".",
        "ferryman-join-1." + "0" * 64 + "." + "x y" * 14,
    ],
)
async def test_a_malformed_token_is_told_before_anything_is_asked(
    authority: Authority, state: Path, token: str
) -> None:
    async with served(SmallCoordinator(authority)) as coordinator:
        error = await refused(state, coordinator.url, token)
    assert "join token is malformed" in error.message
    assert "ferryman-join-1.<64 hex digits>.<secret>" in error.message
    assert coordinator.received == []


async def test_a_refused_token_is_told(authority: Authority, state: Path) -> None:
    async with served(SmallCoordinator(authority)) as coordinator:
        wrong = f"ferryman-join-1.{authority.ca_digest}.{'x' * 43}"
        error = await refused(state, coordinator.url, wrong)
    assert "the join token was refused: the token is not known here" in error.message
    assert not error.passing


async def test_a_coordinator_that_cannot_work_now_is_asked_again_later(
    authority: Authority, state: Path
) -> None:
    coordinator = SmallCoordinator(authority, refusal=UnavailableError("no database"))
    async with served(coordinator):
        error = await refused(state, coordinator.url, coordinator.token)
        assert (error.passing, "no database" in error.message) == (True, True)
        key = (state / "agent.key").read_text()
        coordinator.refusal = None
        await enroll(state, "host-a", coordinator.url, coordinator.token)
    assert (state / "agent.pem").read_text().endswith(key)


async def test_an_unreachable_coordinator_is_passing(authority: Authority, state: Path) -> None:
    coordinator = SmallCoordinator(authority)
    async with served(coordinator):
        pass
    error = await refused(state, coordinator.url, coordinator.token)
    assert error.passing
    assert "can't be reached" in error.message


async def test_a_server_that_is_no_coordinator_is_told(authority: Authority, state: Path) -> None:
    coordinator = SmallCoordinator(authority, shown=b"not a certificate")
    async with served(coordinator):
        error = await refused(state, coordinator.url, coordinator.token)
    assert "without a certificate" in error.message


async def test_a_certificate_for_another_key_is_not_kept(
    authority: Authority, state: Path, tmp_path: Path
) -> None:
    async with served(SmallCoordinator(authority)) as first:
        await enroll(tmp_path / "other", "host-b", first.url, first.token)
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----\n"
    stolen = (tmp_path / "other/agent.pem").read_bytes()
    pem = stolen[stolen.index(begin) : stolen.index(end) + len(end)]
    coordinator = SmallCoordinator(authority, certificate=lambda csr, host_id: pem)
    async with served(coordinator):
        error = await refused(state, coordinator.url, coordinator.token)
    assert "another key" in error.message
    assert set(files(state)) == {"agent.key", "ca.pem"}


async def test_a_state_folder_that_cannot_be_written_is_named(
    authority: Authority, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    async with served(SmallCoordinator(authority)) as coordinator:
        with pytest.raises(EnrollError, match=str(blocked)):
            await enroll(blocked / "state", "host-a", coordinator.url, coordinator.token)


async def test_a_damaged_key_is_named(authority: Authority, state: Path) -> None:
    put(state / "agent.key", "nonsense")
    async with served(SmallCoordinator(authority)) as coordinator:
        error = await refused(state, coordinator.url, coordinator.token)
    assert str(state / "agent.key") in error.message
    assert not any(coordinator.secret in text for _, text in coordinator.received)


@pytest.mark.parametrize("name", ["agent.pem", "ca.pem"])
async def test_a_damaged_identity_is_named_with_the_way_out(
    authority: Authority, state: Path, name: str
) -> None:
    async with served(SmallCoordinator(authority)) as coordinator:
        await enroll(state, "host-a", coordinator.url, coordinator.token)
        whole = (state / name).read_text()
        for damage in ("nonsense", "", whole[: len(whole) // 2], whole.replace("M", "N")):
            (state / name).write_text(damage)
            with pytest.raises(EnrollError, match=r"agent\.pem to join anew"):
                Identity.load(state)


async def test_the_token_is_in_no_log(
    authority: Authority, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with served(SmallCoordinator(authority)) as coordinator:
        await enroll(state, "host-a", coordinator.url, coordinator.token)
    assert coordinator.secret not in caplog.text


async def test_joining_leaves_the_agent_light(authority: Authority, state: Path) -> None:
    """The library that makes keys is never loaded in the agent's own process."""
    script = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from agent.enroll import Identity, enroll\n"
        "state, url = Path(sys.argv[1]), sys.argv[2]\n"
        "asyncio.run(enroll(state, 'host-a', url, sys.stdin.read()))\n"
        "Identity.load(state).client_context()\n"
        "print('cryptography' in sys.modules)\n"
    )
    async with served(SmallCoordinator(authority)) as coordinator:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            script,
            str(state),
            coordinator.url,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await child.communicate(coordinator.token.encode())
    assert out.strip() == b"False"
