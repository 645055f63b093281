"""The agents' door and the audit trail: what a host is refused there, and what it changes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.identity import Identity
from agent.keys import NewKey
from coordinator.app import Coordinator
from coordinator.core.refusals import AT_ONCE
from coordinator.store.tables import metadata
from protocol.codec import encode
from protocol.evidence import AuditEntry
from protocol.messages import (
    PROTOCOL_MINOR,
    Certificate,
    CertificateRequest,
    Hello,
    InstanceState,
    Inventory,
    RenewCertificate,
    Renewed,
    StateChanged,
)
from protocol.states import InstanceStatus
from tests.parts.bad_frames import TOO_LONG
from tests.parts.coming_in import Line, approved, dialled, refusal, serving
from tests.parts.identities import joined, long_ago
from tests.parts.local_agent import csr_here
from tests.parts.raw_websocket import BINARY, CONTINUATION, PING, TEXT, RawWebsocket, frame
from tests.parts.waiting import until

HOST = "host-a"


async def rows_of(coordinator: Coordinator, *operations: str) -> list[AuditEntry]:
    """The rows of what hosts did, the oldest first."""
    found = (await coordinator.list_audit(limit=1000)).rows
    rows = [row for row in reversed(found) if row.proof == "certificate"]
    return [row for row in rows if not operations or row.operation in operations]


# ---- what is refused -----------------------------------------------------------


Attempt = Callable[[str, Identity], Awaitable[object]]


def says(*frames: bytes) -> Attempt:
    """Comes with a good certificate, and says this."""

    async def attempt(url: str, identity: Identity) -> None:
        async with RawWebsocket(url, identity.client_context()) as socket:
            talking = asyncio.create_task(socket.say(*frames))
            await socket.closed()
            talking.cancel()
            await asyncio.wait([talking])

    return attempt


def hello(**fields: Any) -> bytes:
    return frame(BINARY, encode(Hello(**{"host_id": HOST, "agent_version": "1", **fields})))


async def as_it_is(coordinator: Coordinator, url: str, identity: Identity) -> Identity:
    return identity


async def revoked(coordinator: Coordinator, url: str, identity: Identity) -> Identity:
    await coordinator.revoke_host(HOST)
    return identity


async def ended(coordinator: Coordinator, url: str, identity: Identity) -> Identity:
    folder = identity.state_dir.parent
    then = long_ago(coordinator.certificates, timedelta(days=40), folder / "then")
    return joined(then, folder / "ended", HOST)


async def replaced(coordinator: Coordinator, url: str, identity: Identity) -> Identity:
    """It believes the new authority, and shows a certificate of the old one."""
    await coordinator.begin_rotation()
    await coordinator.switch_rotation(force=True)
    last = await coordinator.finish_rotation(force=True)
    (identity.state_dir / "ca.pem").write_text(last.present.certificate)
    return identity


async def newer(coordinator: Coordinator, url: str, identity: Identity) -> Identity:
    async with dialled(url, identity) as line:
        await line.greet(HOST)
        await coordinator.list_audit()
    return identity


@dataclass(frozen=True)
class Refused:
    """What was before, what the host tries, and what its row must say."""

    attempt: Attempt
    result: str
    message: str
    before: Callable[[Coordinator, str, Identity], Awaitable[Identity]] = as_it_is


REFUSED = {
    "revoked": Refused(refusal, "unauthenticated", "host-a was revoked on ", revoked),
    "ended": Refused(refusal, "unauthenticated", "the certificate of host-a ended on ", ended),
    "replaced": Refused(
        refusal,
        "unauthenticated",
        "the certificate of host-a is of an authority that was replaced: ",
        replaced,
    ),
    "older protocol": Refused(
        says(hello(minor=0)), "refused", f"protocol 1.0 after 1.{PROTOCOL_MINOR}: ", newer
    ),
    "another's name": Refused(
        says(hello(host_id="host-b")), "refused", "the certificate is for host-a, hello says host-b"
    ),
    "no hello": Refused(
        says(frame(BINARY, encode(Inventory(instances=[])))),
        "refused",
        "the first frame must be hello",
    ),
    "two hellos": Refused(says(hello(), hello()), "refused", "a second hello", newer),
    "bad frame": Refused(says(frame(BINARY, b"\xc1")), "refused", "bad frame: "),
    "text frame": Refused(says(frame(TEXT, b"{}")), "refused", "frames are binary"),
    "too long": Refused(
        says(frame(BINARY, TOO_LONG)), "refused", "broke the websocket (1009): Message size "
    ),
    "no UTF-8": Refused(
        says(frame(TEXT, b"\xff\xfe")), "refused", "broke the websocket (1007): Invalid UTF-8"
    ),
    "no begin": Refused(says(frame(CONTINUATION, b"a")), "refused", "broke the websocket (1002): "),
    "unknown frame": Refused(says(frame(3, b"a")), "refused", "broke the websocket (1002): "),
    "long ping": Refused(says(frame(PING, b"a" * 126)), "refused", "broke the websocket (1002): "),
}


def stored(folder: Path) -> dict[str, Sequence[Any]]:
    """All that is in the database, but for the audit trail, the clock and when a host was seen."""
    found: dict[str, Sequence[Any]] = {}
    with closing(sqlite3.connect(folder / "coordinator.db")) as database:
        for table in metadata.tables.values():
            columns = [c.name for c in table.columns if c.name != "last_seen"]
            chosen = f"SELECT {', '.join(columns)} FROM {table.name}"
            found[table.name] = sorted(map(repr, database.execute(chosen)))
    del found["audit"], found["clock"]
    found["counters"] = [row for row in found["counters"] if "audit" not in row]
    return found


@pytest.mark.parametrize("name", REFUSED)
async def test_what_a_host_is_refused_is_logged_and_leaves_a_row_and_nothing_else(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    case, folder = REFUSED[name], tmp_path / "coordinator"
    async with serving(folder) as (coordinator, url):
        identity = await approved(coordinator, url, tmp_path / HOST, HOST)
        identity = await case.before(coordinator, url, identity)
    was = stored(folder)
    assert was["hosts"]
    async with serving(folder) as (coordinator, url):
        known = len(await rows_of(coordinator))
        await case.attempt(url, identity)

        async def new() -> list[AuditEntry]:
            return (await rows_of(coordinator))[known:]

        (row,) = await until(new, bool)
    assert (row.who, row.object_id, row.operation) == (HOST, HOST, "connect")
    assert (row.address, row.result, row.count) == ("127.0.0.1", case.result, 1)
    assert row.message.startswith(case.message)
    assert (row.before, row.after) == ({}, {})
    assert caplog.text.count(f"host {HOST} was refused: ") == 1
    assert stored(folder) == was


async def test_an_agent_that_only_goes_is_no_refusal(tmp_path: Path) -> None:
    async with serving(tmp_path / "coordinator") as (coordinator, url):
        identity = await approved(coordinator, url, tmp_path / HOST, HOST)
        for said in ((), (hello(),), (hello(), b"\x82")):
            async with RawWebsocket(url, identity.client_context()) as socket:
                await socket.say(*said)
        async with dialled(url, identity) as line:
            await line.greet(HOST)
        await until(coordinator.list_hosts, lambda seen: seen.hosts and not seen.hosts[0].connected)
        assert await rows_of(coordinator) == []


# ---- what is changed -----------------------------------------------------------


@dataclass
class Town:
    """A coordinator, and hosts that an operator has let in."""

    coordinator: Coordinator
    url: str
    folder: Path

    async def host(self, host_id: str = HOST) -> Identity:
        return await approved(self.coordinator, self.url, self.folder / host_id, host_id)

    async def brings(self, line: Line, host_id: str, **services: str) -> None:
        """Say hello and what is there, and wait until it is saved."""
        await line.greet(host_id)
        await line.say(Inventory(instances=[state(*one) for one in services.items()]))
        await self.saved(services)

    async def saved(self, services: dict[str, str]) -> None:
        async def seen() -> bool:
            fleet = self.coordinator._fleet
            found = {name: fleet.instance(name) for name in services}
            return all(row and row.service == services[name] for name, row in found.items())

        await until(seen, bool)

    async def brought(self) -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
        rows = await rows_of(self.coordinator, "bring_instance")
        assert {(row.result, row.address, row.count) for row in rows} <= {
            ("accepted", "127.0.0.1", 1)
        }
        return [(row.who, row.object_id, row.before, row.after) for row in rows]


def state(instance_id: str, service: str) -> InstanceState:
    return InstanceState(
        instance_id=instance_id, service=service, status=InstanceStatus.RUNNING, version="v1"
    )


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with serving(tmp_path / "coordinator") as (coordinator, url):
        yield Town(coordinator, url, tmp_path)


async def test_what_becomes_a_hosts_is_one_row_an_inventory_and_none_if_nothing_does(
    town: Town,
) -> None:
    identity = await town.host()
    first = (
        HOST,
        HOST,
        {"instances": {"i1": "", "i2": ""}},
        {"host_id": HOST, "instances": {"i1": "web", "i2": "db"}},
    )
    for _ in range(2):
        async with dialled(town.url, identity) as line:
            await town.brings(line, HOST, i1="web", i2="db")
        assert await town.brought() == [first]


async def test_an_instance_of_another_service_than_before_is_a_row(town: Town) -> None:
    async with dialled(town.url, await town.host()) as line:
        await town.brings(line, HOST, i1="web", i2="db")
        await line.say(StateChanged(instance=state("i1", "api")))
        await line.say(StateChanged(instance=state("i2", "db")))
        await town.saved({"i1": "api"})
        _, changed = await town.brought()
    assert changed == (
        HOST,
        "i1",
        {"instances": {"i1": "web"}},
        {"host_id": HOST, "instances": {"i1": "api"}},
    )


async def test_who_takes_an_instance_that_was_released_is_a_row(town: Town) -> None:
    async with dialled(town.url, await town.host()) as line:
        await town.brings(line, HOST, i1="web")
    await town.coordinator.release_instance("i1")
    async with dialled(town.url, await town.host("host-b")) as line:
        await town.brings(line, "host-b", i1="web")
    first, second = await town.brought()
    assert first[0] == HOST
    assert second == (
        "host-b",
        "i1",
        {"instances": {"i1": ""}},
        {"host_id": "host-b", "instances": {"i1": "web"}},
    )


async def test_an_instance_that_is_released_under_its_connected_host_is_taken_with_a_row(
    town: Town,
) -> None:
    async with dialled(town.url, await town.host()) as line:
        await town.brings(line, HOST, i1="web")
        releasing = asyncio.create_task(town.coordinator.release_instance("i1"))
        await asyncio.sleep(0)
        town.coordinator._engine.happened(
            instances=town.coordinator.reception.claims.rows(
                session_of(town), [state("i1", "web")]
            ),
            brings=town.coordinator.reception.claims.brings(session_of(town)),
        )
        await releasing
        rows = await rows_of(town.coordinator, "bring_instance")
    assert [(row.who, row.object_id) for row in rows] == [(HOST, "i1")] * 2


def session_of(town: Town) -> Any:
    return town.coordinator.reception.session(HOST)


async def test_thousands_of_instances_are_one_small_row(town: Town) -> None:
    many = {f"i{n}": "web" for n in range(2_000)}
    async with dialled(town.url, await town.host()) as line:
        await town.brings(line, HOST, **many)
    ((_, _, _, after),) = await town.brought()
    assert after["instances"]["…"] == "and 1980 more"
    (row,) = await rows_of(town.coordinator, "bring_instance")
    assert len(row.model_dump_json()) < 3_000


async def test_a_host_that_brings_something_new_without_end_is_counted(town: Town) -> None:
    async with dialled(town.url, await town.host()) as line:
        await line.greet(HOST)
        for n in range(AT_ONCE + 50):
            await line.say(StateChanged(instance=state("i1", f"service-{n}")))
        await town.saved({"i1": f"service-{AT_ONCE + 49}"})
        rows = await rows_of(town.coordinator, "bring_instance")
    assert sum(row.count for row in rows) == AT_ONCE + 50
    assert len(rows) <= AT_ONCE + 2
    assert rows[-1].after["instances"] == {"i1": f"service-{AT_ONCE + 49}"}


async def test_a_frame_that_is_saved_at_the_third_try_is_counted_once(town: Town) -> None:
    audit = town.coordinator._audit
    for _ in range(AT_ONCE):
        frame_of = audit.brings(HOST, "10.0.0.1")
        assert [len(frame_of({"i1": ""}, {"i1": "web"})) for _ in range(3)] == [1, 1, 1]
    late = audit.brings(HOST, "10.0.0.1")
    assert [late({"i1": ""}, {"i1": "web"}) for _ in range(3)] == [[], [], []]
    (row,) = await rows_of(town.coordinator, "bring_instance")
    assert row.count == 1


async def test_a_host_that_the_database_lost_is_taken_in_with_a_row(town: Town) -> None:
    identity = joined(town.coordinator.certificates, town.folder / HOST, HOST)
    for _ in range(2):
        async with dialled(town.url, identity) as line:
            await town.brings(line, HOST, i1="web")
    (row,) = await rows_of(town.coordinator, "connect")
    assert (row.who, row.object_id, row.result, row.before) == (HOST, HOST, "accepted", {})
    assert row.after["state"] == "joined"
    assert len(await town.brought()) == 1


async def test_a_renewed_certificate_leaves_once_its_row_is_saved(town: Town) -> None:
    async with dialled(town.url, await town.host()) as line:
        await line.greet(HOST)
        assert town.coordinator.reception.renew(HOST)
        assert isinstance(await line.hears(), RenewCertificate)
        made = NewKey.of(csr_here("-", HOST))
        await line.say(CertificateRequest(csr=made.request))
        assert isinstance(await line.hears(), Certificate)
        rows, _ = await town.coordinator._store.audit(limit=1)
        await line.say(Renewed())
    (row,) = rows
    assert (row.proof, row.who, row.operation, row.object_id, row.result) == (
        "certificate",
        HOST,
        "renew_certificate",
        HOST,
        "accepted",
    )
    authority = town.coordinator.certificates.ca_digest
    assert row.before["authority"] == row.after["authority"] == authority
    assert row.before["ends_at"] <= row.after["ends_at"]
    assert len(row.after["fingerprint"]) == 64
    assert [one.operation for one in await rows_of(town.coordinator)] == ["renew_certificate"]


async def test_a_renewal_that_is_refused_leaves_a_row(town: Town) -> None:
    async with dialled(town.url, await town.host()) as line:
        await line.greet(HOST)
        await line.say(CertificateRequest(csr="unasked"))
        await until(lambda: rows_of(town.coordinator, "renew_certificate"), bool)
        assert town.coordinator.reception.renew(HOST)
        assert isinstance(await line.hears(), RenewCertificate)
        await line.say(CertificateRequest(csr="nonsense"))
        answer = await line.hears()
        assert isinstance(answer, Certificate)
    told = [(row.result, row.message) for row in await rows_of(town.coordinator)]
    assert told == [("refused", "nobody asked it to renew"), ("refused", answer.refusal)]
