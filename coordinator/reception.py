"""What agents say, whatever carries it: one session a host, and the `Sender` to all of them.

What an agent reports goes to the engine and is acknowledged once it is committed. A host
that stays silent for three heartbeats is away and its session is ended. Nothing here
knows sockets, and nothing is decided about tasks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import replace

from coordinator.admission import in_brief, why_refused
from coordinator.audit import Audit
from coordinator.beliefs import Beliefs
from coordinator.claims import Claims
from coordinator.core import happenings
from coordinator.core.chain import AuditRow
from coordinator.engine import Engine
from coordinator.fleet import Fleet
from coordinator.pins import tell_pins
from coordinator.ports import Clock, EventRow, HostRow, InstanceRow
from coordinator.renewals import Renewals
from coordinator.session import Session
from coordinator.skew import is_kept_back, why_not_sent
from coordinator.stream import instance_event
from coordinator.told import KnownPast, row_of_report
from protocol import __version__
from protocol.messages import (
    OLDEST_ACCEPTED_MAJOR,
    PROTOCOL_MAJOR,
    Ack,
    AuthoritiesKept,
    Cancel,
    CertificateRequest,
    Command,
    Heartbeat,
    HeartbeatAck,
    Hello,
    Inventory,
    Past,
    Progress,
    Renewed,
    Report,
    StateChanged,
    ToCoordinator,
    Welcome,
)
from protocol.states import HostState, InstanceStatus

log = logging.getLogger(__name__)

RETURNS_A_SECOND = 200
"""So many agents one core greets in a second, TLS included, with some room for people."""

LONGEST_SPREAD = 5.0
"""Seconds; more would keep a single host that was cut off from telling the truth soon."""


class RefusalError(Exception):
    """The session ends; the agent is told why."""

    def __init__(self, why: str, *, for_now: bool = False) -> None:
        """`for_now`: the agent did nothing wrong, and may come again."""
        super().__init__(why)
        self.for_now = for_now


class Reception:
    """Implements `ports.Sender`."""

    def __init__(self, fleet: Fleet, clock: Clock, renewals: Renewals, beliefs: Beliefs) -> None:
        self._fleet = fleet
        self._clock = clock
        self._renewals = renewals
        self.claims = Claims(fleet, clock)
        self._beliefs = beliefs
        self._sessions: dict[str, Session] = {}
        self._present: set[str] = set()
        self._closed = False
        self._engine: Engine
        self._audit: Audit

    def attach(self, engine: Engine, audit: Audit) -> None:
        """Name the engine that reports go to, and who keeps evidence; before the first agent."""
        self._engine = engine
        self._audit = audit
        self.claims.attach(audit)
        self._renewals.attach(audit)

    # ---- Sender ------------------------------------------------------------

    def send(self, instance_id: str, command: Command) -> bool:
        """Hand a command to the instance's agent; False if it is away."""
        row = self._fleet.instance(instance_id)
        session = self._sessions.get(row.host_id) if row else None
        if session is None or not session.compared:
            return False
        if (ended := why_not_sent(session.minor, command)) is not None:
            said = happenings.Said(command.instance_id, command.attempt, ended)
            self._engine.happened(command.task_id, said)
            return True
        if is_kept_back(session.minor, command):
            return True
        return session.put(command)

    def connected(self, instance_id: str) -> bool:
        """Whether the instance's agent has been heard of within three heartbeats."""
        return self._fleet.connected(instance_id)

    def renew(self, host_id: str) -> bool:
        """Ask a host for a new key and certificate now.

        False if it is not connected, or its agent is too old to renew.
        """
        session = self._sessions.get(host_id)
        return session is not None and self._renewals.ask(session)

    def cut(self, host_id: str, why: str) -> None:
        """The host may not speak any more: end its session, believe nothing that still comes."""
        seen = self._seen(host_id)
        self._fleet.gone(host_id)
        self._leave_presence(host_id, seen)
        if session := self._sessions.pop(host_id, None):
            session.end(why)

    def bring_again(self, instance_id: str) -> None:
        """The instance was released: hosts that claimed it bring theirs on a new connection."""
        for host_id in self.claims.settled(instance_id):
            if session := self._sessions.get(host_id):
                session.end(f"{instance_id} was released: bring it again")

    def why_refused(self, host_id: str, generation: int) -> str:
        """Why a certificate of this generation does not let the host in; "" if it does."""
        return why_refused(self._fleet.host(host_id), generation)

    # ---- the authority is rotated --------------------------------------------

    def session(self, host_id: str) -> Session | None:
        """The host's connection; None if it has none."""
        return self._sessions.get(host_id)

    def authorities_changed(self) -> None:
        """Tell every connected host what it is to believe, and ask for what is to be renewed."""
        for session in self._sessions.values():
            self._beliefs.tell(session)
            self._renewals.look(session)

    def let_go(self, host_ids: Iterable[str], why: str) -> None:
        """End these hosts' connections."""
        for host_id in host_ids:
            if session := self._sessions.get(host_id):
                session.end(why)

    # ---- versions are pinned -------------------------------------------------

    def pins_changed(self, service: str) -> None:
        """Tell the connected hosts of the service what is pinned now."""
        for host_id in {row.host_id for row in self._fleet.of_service(service)}:
            session = self._sessions.get(host_id)
            if session is not None and session.compared:
                tell_pins(self._fleet, session)

    # ---- presence ----------------------------------------------------------

    async def watch(self) -> None:
        """Notice hosts that fall silent, and certificates that are to be renewed, for ever."""
        while True:
            await asyncio.sleep(self._fleet.heartbeat_interval / 2)
            for connected in self._sessions.values():
                self._beliefs.look(connected)
                self._renewals.look(connected)
            for host_id in [h for h in self._present if not self._fleet.host_connected(h)]:
                log.warning("host %s has fallen silent", host_id)
                self._leave_presence(host_id, self._seen(host_id))
                if session := self._sessions.pop(host_id, None):
                    session.end("silent for three heartbeats")

    def _leave_presence(self, host_id: str, seen: HostRow) -> None:
        if host_id not in self._present:
            return
        self._present.discard(host_id)
        rows = self._fleet.of_host(host_id)
        self._engine.happened(hosts=[seen])
        self._tell_presence(rows, connected=False)
        self._engine.went_away([row.instance_id for row in rows])

    def _seen(self, host_id: str) -> HostRow:
        """The host's row with the time at which it was last heard of."""
        return replace(self._row(host_id), last_seen=self._fleet.last_seen(host_id))

    def _row(self, host_id: str) -> HostRow:
        """The host's row, with what its connection shows; a new one if the database lost it."""
        known = self._fleet.host(host_id) or HostRow(host_id, joined_at=self._clock.now().wall)
        session = self._sessions.get(host_id)
        if session is None:
            return known
        return replace(known, certified_by=session.issuer, believes=session.believes)

    def _arrived(self, host_id: str) -> None:
        self._fleet.heard(host_id)
        if host_id not in self._present:
            self._present.add(host_id)
            self._tell_presence(self._fleet.of_host(host_id), connected=True)

    def _tell_presence(self, rows: Iterable[InstanceRow], *, connected: bool) -> None:
        now = self._clock.now().wall
        events = [
            EventRow(now, "instance", {**instance_event(row), "connected": connected})
            for row in rows
        ]
        if events:
            self._engine.happened(events=events)

    def close(self) -> None:
        """Let every agent go; they come back to the next coordinator."""
        self._closed = True
        self._engine.happened(hosts=[self._seen(host_id) for host_id in self._present])
        for session in self._sessions.values():
            session.end("the coordinator stops")

    # ---- one session -------------------------------------------------------

    def greet(self, session: Session, hello: ToCoordinator) -> None:
        """Take in the first frame; raises `RefusalError` if this agent can't be served."""
        if self._closed:
            raise RefusalError("the coordinator stops", for_now=True)
        if not isinstance(hello, Hello):
            raise RefusalError("the first frame must be hello")
        if not OLDEST_ACCEPTED_MAJOR <= hello.major <= PROTOCOL_MAJOR:
            raise RefusalError(
                f"protocol {hello.major} is not spoken here; "
                f"accepted are {OLDEST_ACCEPTED_MAJOR} to {PROTOCOL_MAJOR}"
            )
        if hello.host_id != session.host_id:
            raise RefusalError(
                f"the certificate is for {session.host_id}, hello says {hello.host_id}"
            )
        self._refuse_older(session, hello)
        session.minor = hello.minor
        if told := hello.authorities:
            session.believes = tuple(told)
        self._arrived(session.host_id)
        older = self._sessions.get(session.host_id)
        self._sessions[session.host_id] = session
        if older is not None:
            older.end("another connection took over")
        host = self._row(session.host_id)
        session.past = KnownPast(host.past_number)
        now = self._clock.now().wall
        seen = replace(
            host,
            agent_version=hello.agent_version,
            address=session.address,
            last_seen=now,
            state=HostState.JOINED,
            fingerprint=session.fingerprint,
            generation=session.generation,
            protocol=(hello.major, hello.minor),
        )
        self._engine.happened(hosts=[seen], audit=self._taken_in(session, seen))
        session.put(
            Welcome(
                heartbeat_interval=self._fleet.heartbeat_interval,
                coordinator_version=__version__,
                tell_past_after=_lost_after(host.past_number, hello.past_number),
                reconnect_spread=min(LONGEST_SPREAD, self._fleet.host_count() / RETURNS_A_SECOND),
            )
        )
        self._beliefs.look(session)
        self._renewals.look(session)

    def _taken_in(self, session: Session, row: HostRow) -> list[AuditRow]:
        """What is told of a host of which the database knows nothing."""
        if self._fleet.host(row.host_id) is not None:
            return []
        log.warning(
            "host %s is not in the database and is taken in again: its certificate proves "
            "that it joined",
            row.host_id,
        )
        return [self._audit.by_host(row.host_id, session.address, "connect", after=in_brief(row))]

    def _refuse_older(self, session: Session, hello: Hello) -> None:
        """Refuse a certificate that was revoked, and an older protocol than the host has spoken."""
        if problem := self.why_refused(session.host_id, session.generation):
            raise RefusalError(problem)
        known = self._fleet.host(session.host_id)
        spoken = known.protocol if known else (0, 0)
        if (hello.major, hello.minor) < spoken:
            said, least = (
                ".".join(map(str, pair)) for pair in ((hello.major, hello.minor), spoken)
            )
            raise RefusalError(f"protocol {said} after {least}: accepted is {least} or newer")

    def hear(self, session: Session, frame: ToCoordinator) -> None:
        """Take in any later frame; raises `RefusalError` if it may not come.

        What still comes on a connection that another one has followed is ignored: it is
        older than what was told there, and what counts is told there again.
        """
        if self._sessions.get(session.host_id) is not session:
            return
        self._arrived(session.host_id)
        match frame:
            case Heartbeat(number=number):
                session.put(HeartbeatAck(number=number))
            case Report():
                self._report(session, frame)
            case Progress():
                if self.claims.speaks_for(session, frame.instance_id):
                    self._engine.progressed(frame)
            case StateChanged(instance=state):
                rows = self.claims.rows(session, [state])
                self._engine.happened(instances=rows, brings=self.claims.brings(session))
            case Past(entries=entries):
                own = [one for one in entries if self.claims.may_tell_of(session, one.instance_id)]
                number = entries[-1].number
                session.past.told_until(number)
                session.caught_up.clear()
                self._engine.told(session.host_id, own, number, session.caught_up.set)
            case Inventory():
                self._inventory(session, frame)
            case CertificateRequest():
                self._renewals.answer(session, frame)
            case Renewed():
                self._renewals.ended(session, frame)
                self._engine.happened(hosts=[self._row(session.host_id)])
            case AuthoritiesKept():
                self._beliefs.kept(session, frame)
                self._engine.happened(hosts=[self._row(session.host_id)])
                self._renewals.look(session)
            case Hello():
                raise RefusalError("a second hello")

    def leave(self, session: Session) -> None:
        """The connection has ended."""
        if self._sessions.get(session.host_id) is session:
            del self._sessions[session.host_id]

    # ---- what agents tell --------------------------------------------------

    def _report(self, session: Session, report: Report) -> None:
        rows = self.claims.rows(session, [report.instance])
        said = happenings.Said(report.instance_id, report.attempt, report.event)
        ack = Ack(seq=report.seq)
        if not rows or report.instance.instance_id != report.instance_id:
            session.put(ack)
            return
        self._engine.happened(
            report.task_id,
            said,
            instances=rows,
            lost=row_of_report(report, self._clock.now().wall),
            past=(session.host_id, session.past.reported(report.past_number)),
            brings=self.claims.brings(session),
            done=lambda: _ignore(session.put(ack)),
        )

    def _inventory(self, session: Session, inventory: Inventory) -> None:
        self.claims.only(session.host_id, {one.instance_id for one in inventory.instances})
        rows = self.claims.rows(session, inventory.instances)
        told = {row.instance_id for row in rows}
        now = self._clock.now().wall
        gone = [
            replace(
                row,
                status=InstanceStatus.ERROR,
                reason="its agent no longer declares this instance",
                updated_at=now,
            )
            for row in self._fleet.of_host(session.host_id)
            if row.instance_id not in told
        ]
        self._engine.happened(
            instances=[*rows, *gone],
            brings=self.claims.brings(session),
            done=lambda: self._compare(session, inventory, told),
        )

    def _compare(self, session: Session, inventory: Inventory, told: set[str]) -> None:
        """Ask the engine about every work in hand, and tell it what is not in hand.

        Commands are let through from here on: one that an agent took between its inventory
        and this comparison would look as if the agent had forgotten it.
        """
        session.greeted()
        if self._sessions.get(session.host_id) is not session:
            return
        tell_pins(self._fleet, session)
        session.compared = True
        told = {name for name in told if self.claims.owns(session, name)}
        in_hand: dict[str, list[str]] = {}
        for work in inventory.in_hand:
            if work.instance_id in told:
                in_hand.setdefault(work.instance_id, []).append(work.task_id)
                give_up = Cancel(
                    task_id=work.task_id, instance_id=work.instance_id, attempt=work.attempt
                )
                self._engine.happened(
                    work.task_id, happenings.Connected(work.instance_id, work), unknown=give_up
                )
        for instance_id in told:
            self._engine.reconnected(instance_id, in_hand.get(instance_id, []))


def _lost_after(known: int, newest: int) -> int | None:
    """After which entry a host must tell its past; None if all is known.

    A host that has fewer entries than are known lost its own: it begins anew.
    """
    if newest == known:
        return None
    return known if newest > known else 0


def _ignore(_: object) -> None:
    """A frame that could not be queued will be asked for again on the next connection."""
