"""Which hosts may come in, and which instances are theirs. The facade's part about hosts.

A host comes in by a join token, or asks and an operator approves exactly the key that it
showed. A decision is saved before anybody is told of it. What may be decided stands in
`admission`; who asks is remembered by `waiting`.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from coordinator.admission import LET_IN, Arrival, Move, joined, moved
from coordinator.allowance import Allowance
from coordinator.arguments import (
    HostDecisionParams,
    HostIdParams,
    HostListParams,
    InstanceIdParams,
)
from coordinator.audit import Audit
from coordinator.auth import Tokens
from coordinator.caller import Caller, Role
from coordinator.core.chain import AuditRow
from coordinator.core.evidence import done
from coordinator.engine import Engine
from coordinator.fleet import Fleet
from coordinator.host_views import host_view, request_view
from coordinator.known import Known
from coordinator.permissions import require
from coordinator.pki import Authority
from coordinator.ports import Clock, HostRow
from coordinator.reception import Reception
from coordinator.waiting import WaitingRoom
from coordinator.x509 import Life, requested_key
from coordinator.x509 import fingerprint as fingerprint_of
from protocol.access import Host, HostList, JoinAnswer, ReleasedInstance
from protocol.errors import ConflictError
from protocol.params import parse_params
from protocol.states import HostState

log = logging.getLogger(__name__)


class Hosts:
    """Lets hosts in and out, for one caller."""

    _caller: Caller
    _known: Known

    def __init__(
        self,
        *,
        clock: Clock,
        tokens: Tokens,
        authority: Authority,
        engine: Engine,
        fleet: Fleet,
        reception: Reception,
        audit: Audit,
    ) -> None:
        self._clock = clock
        self._tokens = tokens
        self._authority = authority
        self._engine = engine
        self._fleet = fleet
        self._reception = reception
        self._audit = audit
        self._waiting = WaitingRoom()
        self._allowance = Allowance(clock)

    # ---- hosts come --------------------------------------------------------

    def authority(self) -> str:
        """The certificate of the coordinator's authority, PEM."""
        return self._authority.ca_pem.decode()

    def older_authority(self) -> str:
        """The one that join tokens from before a switch name; "" if there is none."""
        return self._authority.older_pem.decode()

    async def enroll(
        self, token_text: str, host_id: str, csr: str, address: str
    ) -> tuple[str, str]:
        """Let a host join: sign its request; return its certificate and the authority's, PEM.

        Raises `UnauthenticatedError` for a token that is bad or used up, `PermissionDeniedError`
        for one that is not for joining or not for this host, `InvalidRequestError` for a bad
        request, `ConflictError` for a host that is connected, or needs a token that names it.
        """
        asked = {"host_id": host_id}
        with self._audit.asked(Caller.stranger(address), "enroll", host_id, asked):
            token = await self._tokens.check(token_text)
        caller = Caller.of_token(token, address)
        with self._audit.asked(caller, "enroll", host_id, asked) as audit:
            require(caller, Role.JOIN)
            key = fingerprint_of(requested_key(csr.encode()))
            certificate = await self._enroll(Arrival(host_id, key, address, token), csr, audit)
        self._waiting.forget(host_id)
        log.info("host %s joined from %s with token %s", host_id, address, token.token_id)
        return certificate, self.authority()

    async def _enroll(self, came: Arrival, csr: str, audit: AuditRow) -> str:
        host_id = came.host_id
        if self._fleet.host_connected(host_id):
            raise ConflictError(
                f"host_id: {host_id} has joined already and is connected; "
                "stop its agent, or give this host another id",
                [{"field": "host_id", "message": "is connected"}],
            )

        signing = self._authority.ca_digest

        def decide(known: HostRow | None) -> HostRow:
            row = joined(known, came, self._clock.now().wall)
            return replace(row, certified_by=signing, believes=(signing,))

        expected = decide(self._fleet.host(host_id))
        certificate = self._certificate(csr, expected)
        until = Life.of_pem(certificate.encode()).ends
        await self._tokens.use(came.token, host_id, came.fingerprint)
        row = await self._engine.decide(host_id, decide, done(audit, {"certificate_until": until}))
        fits = row.generation == expected.generation
        return certificate if fits else self._certificate(csr, row)

    async def ask_to_join(self, host_id: str, csr: str, address: str) -> JoinAnswer:
        """Answer an agent that has no token: what was decided of its key.

        Raises `InvalidRequestError` for a bad request, `ConflictError` for the id of a host that
        was let in with another key, `UnavailableError` if too many ask.
        """
        with self._audit.asked(Caller.stranger(address), "ask_to_join", host_id) as audit:
            self._allowance.take(address)
            key = fingerprint_of(requested_key(csr.encode()))
            known = self._fleet.host(host_id)
            if known is not None and known.state in LET_IN:
                return self._let_in(known, key, csr, audit)
            if known is not None and known.state is HostState.REJECTED and known.fingerprint == key:
                return JoinAnswer(state=known.state, fingerprint=key)
            if self._waiting.ask(host_id, key, address, self._clock.now()):
                told = "host %s asks from %s to be let in with the key %s"
                log.warning(told, host_id, address, key)
        return JoinAnswer(state=HostState.PENDING, fingerprint=key)

    def _let_in(self, known: HostRow, key: str, csr: str, audit: AuditRow) -> JoinAnswer:
        """The certificate of a host whose key was approved."""
        host_id = known.host_id
        if known.state is not HostState.APPROVED or known.fingerprint != key:
            said = f"{host_id} was let in already with another key"
            how = f"revoke it first (ferryman host revoke {host_id}), or use another id"
            raise ConflictError(f"host_id: {said}; {how}", [{"field": "host_id", "message": said}])
        certificate = self._certificate(csr, known)
        until = Life.of_pem(certificate.encode()).ends
        told = done(audit, {"fingerprint": key, "certificate_until": until})
        signing = self._authority.ca_digest
        row = replace(known, certified_by=signing, believes=(signing,))
        self._engine.happened(hosts=[row], audit=[told])
        return JoinAnswer(
            state=known.state,
            fingerprint=key,
            certificate=certificate,
            authority=self.authority(),
        )

    def _certificate(self, csr: str, row: HostRow) -> str:
        made = self._authority.sign_agent(csr.encode(), row.host_id, generation=row.generation)
        return made.decode()

    # ---- operators decide --------------------------------------------------

    async def approve_host(self, host_id: str, fingerprint: str | None = None) -> Host:
        """(+) Let in the key that asks to be this host.

        `fingerprint` says which, and has to if several ask. Raises `NotFoundError` if nobody
        asks, `ConflictError` if another key does or the host was let in already.
        """
        row = await self._decide("approve_host", host_id, Move.APPROVE, fingerprint)
        self._waiting.forget(host_id)
        log.info("host %s was approved with the key %s", host_id, row.fingerprint)
        return self._view(row)

    async def reject_host(self, host_id: str, fingerprint: str | None = None) -> Host:
        """(+) Refuse the key that asks to be this host; it may still be approved."""
        row = await self._decide("reject_host", host_id, Move.REJECT, fingerprint)
        self._waiting.forget(host_id, row.fingerprint)
        log.info("host %s was rejected with the key %s", host_id, row.fingerprint)
        return self._view(row)

    async def revoke_host(self, host_id: str) -> Host:
        """(+) Cut a host off at once, and refuse all certificates that it ever got.

        Raises `NotFoundError`, or `ConflictError` for a host that was never let in. Again
        changes nothing.
        """
        parse_params(HostIdParams, {"host_id": host_id})
        with self._audit.asked(self._caller, "revoke_host", host_id) as audit:
            row = await self._engine.decide(
                host_id,
                lambda known: moved(known, host_id, Move.REVOKE, self._clock.now().wall),
                audit,
            )
        self._reception.cut(host_id, f"{host_id} was revoked")
        log.warning("host %s was revoked", host_id)
        return self._view(row)

    async def release_instance(self, instance_id: str) -> ReleasedInstance:
        """(+) Let an instance belong to no host: the next one that brings it owns it.

        Raises `NotFoundError`, or `ConflictError` while an unfinished task holds it.
        """
        parse_params(InstanceIdParams, {"instance_id": instance_id})
        with self._audit.asked(self._caller, "release_instance", instance_id) as audit:
            row = await self._engine.release(instance_id, audit)
        log.warning("instance %s was released by host %s", instance_id, row.host_id)
        self._reception.bring_again(instance_id)
        return ReleasedInstance(instance_id=instance_id, service=row.service, host_id=row.host_id)

    async def _decide(
        self, operation: str, host_id: str, move: Move, fingerprint: str | None
    ) -> HostRow:
        asked = {"host_id": host_id, "fingerprint": fingerprint}
        parse_params(HostDecisionParams, asked)
        now = self._clock.now()
        with self._audit.asked(self._caller, operation, host_id, asked) as audit:
            waiting = self._waiting.of(host_id, now)
            known = self._fleet.host(host_id)
            asking = self._meant(host_id, list(waiting), known, fingerprint)
            address = waiting[asking].address if asking else ""
            return await self._engine.decide(
                host_id,
                lambda row: moved(row, host_id, move, now.wall, asking=asking, address=address),
                audit,
            )

    def _view(self, row: HostRow) -> Host:
        reason = self._reception.claims.reason(row.host_id)
        return host_view(row, self._fleet, self._known.sees, reason)

    def _meant(
        self, host_id: str, waiting: list[str], known: HostRow | None, fingerprint: str | None
    ) -> str:
        """Which of the keys that wait is meant; "" for the host as it stands."""
        stands = known.fingerprint if known is not None else ""
        keys = ", ".join(waiting) or stands or "no key"
        if fingerprint is not None:
            if fingerprint in waiting:
                return fingerprint
            if known is not None and fingerprint == stands:
                return ""
            if waiting or known is not None:
                raise _other_keys(f"{host_id} shows {keys}, not {fingerprint}")
        if len(waiting) > 1:
            raise _other_keys(f"several keys ask to be {host_id}, name one of them: {keys}")
        return waiting[0] if waiting else ""

    # ---- the list ----------------------------------------------------------

    async def list_hosts(
        self,
        *,
        service: str = "",
        connected: bool | None = None,
        state: str = "",
        limit: int = 100,
        offset: int = 0,
    ) -> HostList:
        """(+) Hosts, newest first; those of `service`, (not) connected, in this `state`.

        Who asks to be let in is there, too, as `pending`.
        """
        asked = {"service": service, "connected": connected, "state": state}
        parse_params(HostListParams, asked | {"limit": limit, "offset": offset})
        members = self._known.hosts_of(service)
        found = [
            host
            for host in self._all_hosts()
            if (members is None or host.host_id in members)
            and connected in (None, host.connected)
            and state in ("", host.state.value)
        ]
        return HostList(
            hosts=found[offset : offset + limit], total=len(found), limit=limit, offset=offset
        )

    def _all_hosts(self) -> list[Host]:
        """Everybody; who is restricted to some services sees nobody who waits."""
        rows = [self._view(row) for row in self._fleet.all_hosts()]
        if self._caller.restricted:
            return [row.model_copy(update={"reason": ""}) for row in rows]
        waiting = self._waiting.all(self._clock.now())
        return [*map(request_view, reversed(waiting)), *rows]


def _other_keys(said: str) -> ConflictError:
    return ConflictError(f"fingerprint: {said}", [{"field": "fingerprint", "message": said}])
