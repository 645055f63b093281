"""Instances that a host claims and another host owns: refused, told to both sides, and kept.

An instance belongs to the host that first brought it, until it is released. The claims live in
memory: every connection makes them again.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable

from coordinator.audit import Audit
from coordinator.batch import Brings
from coordinator.core.proofs import proven_at
from coordinator.fleet import Fleet
from coordinator.ports import Clock, InstanceRow, Retained
from coordinator.session import Session
from protocol.messages import REFUSAL_MINOR, InstanceRefused, InstanceState, RetainedRelease

log = logging.getLogger(__name__)

SHOWN = 3


class Claims:
    """Tells whose instances a host speaks of, and keeps the refused claims of every host."""

    _audit: Audit

    def __init__(self, fleet: Fleet, clock: Clock) -> None:
        self._fleet = fleet
        self._clock = clock
        self._owners: dict[str, dict[str, str]] = {}
        """By host: the owner of each instance that it claims."""

    def attach(self, audit: Audit) -> None:
        """Name who keeps evidence; before the first agent."""
        self._audit = audit

    def refuse(self, session: Session, instance_id: str, owner: str) -> bool:
        """A host said something of another host's instance; True the first time on a connection."""
        claims = self._owners.setdefault(session.host_id, {})
        if claims.get(instance_id) != owner:
            claims[instance_id] = owner
            log.error(
                "host %s claims instance %s, which belongs to host %s: ignored until "
                "`ferryman instance release %s`",
                session.host_id,
                instance_id,
                owner,
                instance_id,
            )
        if instance_id in session.refused:
            return False
        session.refused.add(instance_id)
        if session.minor >= REFUSAL_MINOR:
            reason = f"it belongs to host {owner}, until `ferryman instance release {instance_id}`"
            session.put(InstanceRefused(instance_id=instance_id, reason=reason))
        return True

    def only(self, host_id: str, instance_ids: Collection[str]) -> None:
        """The host claims nothing but some of these."""
        claims = self._owners.pop(host_id, {})
        left = {name: owner for name, owner in claims.items() if name in instance_ids}
        if left:
            self._owners[host_id] = left

    def settled(self, instance_id: str) -> list[str]:
        """The instance was released: forget who claims it, and return those hosts."""
        hosts = [host for host, claims in self._owners.items() if instance_id in claims]
        for host in hosts:
            self.only(host, self._owners[host].keys() - {instance_id})
        return hosts

    def reason(self, host_id: str) -> str:
        """What an operator should know of the host's claims; "" if it has none."""
        claims = sorted(self._owners.get(host_id, {}).items())
        shown = [f"claims {name}, which belongs to {owner}" for name, owner in claims[:SHOWN]]
        more = [f"and {len(claims) - SHOWN} more"] if len(claims) > SHOWN else []
        return "; ".join(shown + more)

    # ---- what a host says ------------------------------------------------------

    def owns(self, session: Session, instance_id: str) -> bool:
        """Whether the instance is the host's; another host's is a claim, which is refused."""
        owner = self._fleet.instance(instance_id)
        if owner is None or owner.host_id == session.host_id:
            return True
        if self.refuse(session, instance_id, owner.host_id):
            self._audit.host_refused(
                session.host_id,
                session.address,
                "claim_instance",
                instance_id,
                f"it belongs to host {owner.host_id}",
            )
        return False

    def brings(self, session: Session) -> Brings:
        """Makes the row of what becomes the host's by one frame."""
        return self._audit.brings(session.host_id, session.address)

    def speaks_for(self, session: Session, instance_id: str) -> bool:
        """Whether the instance is known to be the host's."""
        row = self._fleet.instance(instance_id)
        return row is not None and row.host_id == session.host_id

    def may_tell_of(self, session: Session, instance_id: str) -> bool:
        """Whether the instance is no other host's."""
        return self._fleet.instance(instance_id) is None or self.speaks_for(session, instance_id)

    def rows(self, session: Session, states: Iterable[InstanceState]) -> list[InstanceRow]:
        """What the host says of its own instances, as rows."""
        now = self._clock.now()
        rows = []
        for state in states:
            if not self.owns(session, state.instance_id):
                continue
            before = self._fleet.instance(state.instance_id)
            known = (*before.retained, *before.fetched) if before else ()
            rows.append(
                InstanceRow(
                    instance_id=state.instance_id,
                    host_id=session.host_id,
                    service=state.service,
                    address=state.address or session.address,
                    port=state.port,
                    status=state.status,
                    version=state.version,
                    digest=state.digest,
                    reason=state.reason,
                    metadata=state.metadata,
                    retained=_told(state, state.retained, known, now.steady),
                    updated_at=now.wall,
                    fetched=_told(state, state.fetched, known, now.steady),
                    free_bytes=state.free_bytes,
                )
            )
        return rows


def _told(
    state: InstanceState,
    releases: Iterable[RetainedRelease],
    known: Iterable[Retained],
    now: float,
) -> tuple[Retained, ...]:
    """The releases that an instance's host tells of; what is new of their damage is logged."""
    before = {(one.version, one.digest): one for one in known}
    told = []
    for one in releases:
        old = before.get((one.version, one.digest))
        if one.damaged and not (old and old.damaged):
            log.warning(
                "%s: the release %s on its host's disk is damaged: %s",
                state.instance_id,
                one.version,
                one.damaged,
            )
        proven = proven_at(one.proven_ago, now, old.proven if old else None)
        told.append(Retained(one.version, one.digest, proven, one.damaged))
    return tuple(told)
