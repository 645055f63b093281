"""The rotation of the authority, step by step, with the fleet running. A part of the facade.

Each step is refused while hosts would be left behind by it, naming them; `force` passes over
them. What counts is what hosts last showed and said, once it is committed with their rows: so
it is the same after a crash.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace

from coordinator.admission import LET_IN
from coordinator.audit import Audit
from coordinator.caller import Caller
from coordinator.core.evidence import done
from coordinator.engine import Engine
from coordinator.fleet import Fleet
from coordinator.pki import Authority, PkiError
from coordinator.ports import HostRow
from coordinator.reception import Reception
from protocol.access import AuthorityCertificate, AuthorityStatus, ForceParams, UnreadyHost
from protocol.errors import ConflictError, UnavailableError
from protocol.messages import AUTHORITIES_MINOR, PROTOCOL_MAJOR
from protocol.params import parse_params
from protocol.states import RotationPhase

log = logging.getLogger(__name__)

SHOWN = 1000
NAMED = 5


class Rotation:
    """Tells how the authority stands, and does the steps."""

    _caller: Caller
    """Who asks: another one for each request."""

    def __init__(
        self,
        *,
        authority: Authority,
        reception: Reception,
        fleet: Fleet,
        engine: Engine,
        audit: Audit,
    ) -> None:
        self._audit = audit
        self._authority = authority
        self._reception = reception
        self._fleet = fleet
        self._engine = engine

    async def authority_status(self) -> AuthorityStatus:
        """(+) The authority, the next one while there is one, and who is ready for it."""
        return self._status()

    async def begin_rotation(self) -> AuthorityStatus:
        """(+) Make the next authority, and let every host believe it, too.

        Raises `ConflictError` while a rotation is under way.
        """

        async def step() -> None:
            self._need(RotationPhase.NONE)
            self._do(self._authority.begin)
            log.warning("a rotation of the authority was begun: next is %s", self._wanted())

        return await self._audited("begin_rotation", step)

    async def switch_rotation(self, force: bool = False) -> AuthorityStatus:
        """(+) Let the next authority sign from now on; hosts renew their certificates.

        Raises `ConflictError` if no rotation was begun, or, without `force`, while a host does
        not believe the next authority.
        """

        async def step() -> None:
            self._need(RotationPhase.BEGUN)
            self._refuse_unready(
                "do not believe the next authority yet",
                "they go on with the one of before until `finish`, and there is no `abort`",
                force,
            )
            self._do(self._authority.switch)
            log.warning("the authority %s signs from now on", self._wanted())

        return await self._audited("switch_rotation", step, force=force)

    async def finish_rotation(self, force: bool = False) -> AuthorityStatus:
        """(+) Forget the authority of before the switch, here and on every host.

        Raises `ConflictError` if there was no switch, or, without `force`, while a host
        believes or shows the old one only: with it, these hosts must join again.
        """
        return await self._audited(
            "finish_rotation", lambda: self._finish_rotation(force), force=force
        )

    async def _finish_rotation(self, force: bool) -> None:
        self._need(RotationPhase.SWITCHED)
        await self._remember_what_old_hosts_show()
        self._need(RotationPhase.SWITCHED)
        left = self._refuse_unready(
            "still need the authority of before the switch", "they must join again", force
        )
        self._do(self._authority.finish)
        log.warning("the authority of before was forgotten; %s is left", self._wanted())
        for host in left:
            log.warning("host %s must join again: %s", host.host_id, host.reason)
        self._reception.let_go(
            (host.host_id for host in left),
            "the authority of this host's certificate was replaced: join again",
        )

    async def abort_rotation(self) -> AuthorityStatus:
        """(+) Forget the next authority. Raises `ConflictError` unless it is before the switch."""

        async def step() -> None:
            self._need(RotationPhase.BEGUN)
            self._do(self._authority.abort)
            log.warning("the rotation of the authority was aborted; %s stays", self._wanted())

        return await self._audited("abort_rotation", step)

    async def _audited(
        self, operation: str, step: Callable[[], Awaitable[None]], **asked: bool
    ) -> AuthorityStatus:
        """Take a step, and have it in the audit trail before it is answered."""
        before = self._in_brief()
        with self._audit.asked(self._caller, operation, "authority", asked, before) as row:
            if "force" in asked:
                parse_params(ForceParams, asked)
            await step()
        saved = asyncio.get_running_loop().create_future()
        after = done(row, self._in_brief())
        self._engine.happened(audit=[after], done=lambda: saved.set_result(None))
        await saved
        return self._status()

    def _in_brief(self) -> dict[str, object]:
        return {"phase": self._authority.phase.value, "authorities": self._authority.digests}

    # ---- what a step needs -----------------------------------------------------

    def _need(self, phase: RotationPhase) -> None:
        found = self._authority.phase
        if found is not phase:
            said = f"the rotation's phase is {found.value}, and this needs {phase.value}"
            raise ConflictError(said, [{"field": "phase", "message": said}])

    def _refuse_unready(self, lack: str, consequence: str, force: bool) -> list[UnreadyHost]:
        unready = self._unready()
        if not unready or force:
            return unready
        named = ", ".join(host.host_id for host in unready[:NAMED])
        more = f" and {len(unready) - NAMED} more" if len(unready) > NAMED else ""
        raise ConflictError(
            f"{len(unready)} of {len(self._hosts_in())} hosts {lack}: {named}{more}; "
            f"with force {consequence}",
            [{"host_id": host.host_id, "message": host.reason} for host in unready[:SHOWN]],
        )

    def _do(self, step: Callable[[], None]) -> None:
        try:
            step()
        except PkiError as error:
            raise UnavailableError(f"the authority's files: {error.message}") from None
        finally:
            self._reception.authorities_changed()

    async def _remember_what_old_hosts_show(self) -> None:
        """Name the authority of hosts that have not been here since that is kept."""
        present = self._authority.digests[0]
        unknown = [
            replace(host, certified_by=present)
            for host in self._hosts_in()
            if not host.certified_by
        ]
        if unknown:
            saved = asyncio.get_running_loop().create_future()
            self._engine.happened(hosts=unknown, done=lambda: saved.set_result(None))
            await saved

    # ---- who is ready ----------------------------------------------------------

    def _hosts_in(self) -> list[HostRow]:
        """The hosts that may come: those that were rejected or revoked hold up nothing."""
        return [host for host in self._fleet.all_hosts() if host.state in LET_IN]

    def _wanted(self) -> str:
        """The digest of the authority that hosts are to come to."""
        return self._authority.digests[-1]

    def _status(self) -> AuthorityStatus:
        shown = [
            AuthorityCertificate(sha256=digest, ends_at=ends, certificate=pem.decode())
            for digest, pem, ends in self._authority.believed
        ]
        hosts = self._hosts_in()
        wanted = self._wanted()
        return AuthorityStatus(
            phase=self._authority.phase,
            present=shown[0],
            next=shown[1] if len(shown) > 1 else None,
            hosts=len(hosts),
            believing=sum(wanted in host.believes for host in hosts),
            certified=sum(host.certified_by == wanted for host in hosts),
            unready=self._unready()[:SHOWN],
        )

    def _unready(self) -> list[UnreadyHost]:
        found = []
        for row in sorted(self._hosts_in(), key=lambda row: row.host_id):
            reason = self._why_unready(row)
            if reason:
                connected = self._fleet.host_connected(row.host_id)
                found.append(UnreadyHost(host_id=row.host_id, connected=connected, reason=reason))
        return found

    def _why_unready(self, host: HostRow) -> str:
        """What the host lacks for the next step; "" if nothing."""
        wanted, phase = self._wanted(), self._authority.phase
        believes, shows = wanted in host.believes, host.certified_by == wanted
        if phase is RotationPhase.NONE:
            if host.certified_by and not shows:
                return "its certificate is of an authority that was replaced: it must join again"
            strange = set(host.believes) - {wanted}
            return self._waits(host, "forget another authority") if strange else ""
        if not believes:
            return self._waits(host, "believe the next authority")
        if phase is RotationPhase.SWITCHED and not shows:
            return self._waits(host, "renew its certificate")
        return ""

    def _waits(self, host: HostRow, to: str) -> str:
        session = self._reception.session(host.host_id)
        if session is None:
            seen = self._fleet.last_seen(host.host_id)
            since = f" since {seen:%Y-%m-%dT%H:%M:%SZ}" if seen else ""
            return f"away{since}: is told to {to} when it returns"
        if session.minor < AUTHORITIES_MINOR:
            spoken = f"{PROTOCOL_MAJOR}.{session.minor}"
            return f"its agent can't {to}, it speaks protocol {spoken}: upgrade it"
        return f"could not {to}: {session.trouble}" if session.trouble else f"was told to {to}"
