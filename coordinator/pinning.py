"""Pinned versions: the facade's part about what hosts keep whatever `keep_releases` says.

A pin is saved together with its row of the audit trail before any host is told of it.
"""

from __future__ import annotations

from coordinator.arguments import PinListParams, PinParams
from coordinator.audit import Audit
from coordinator.caller import Caller
from coordinator.core.pins import PinRow
from coordinator.engine import Engine
from coordinator.fleet import Fleet
from coordinator.known import Known
from coordinator.ports import Clock
from coordinator.reception import Reception
from protocol.params import parse_params
from protocol.releases import Pin, PinList


class Pinning:
    """Pins versions, unpins and lists them, for one caller."""

    _caller: Caller
    _known: Known

    def __init__(
        self, *, clock: Clock, engine: Engine, fleet: Fleet, reception: Reception, audit: Audit
    ) -> None:
        self._clock = clock
        self._engine = engine
        self._fleet = fleet
        self._reception = reception
        self._audit = audit

    async def pin_release(self, service: str, version: str) -> Pin:
        """(+) Keep a version of a service on its hosts' disks; again changes nothing.

        Raises `NotFoundError` for a service that no agent ever reported, `ConflictError` if too
        many versions are pinned.
        """
        asked = {"service": service, "version": version}
        parse_params(PinParams, asked)
        with self._audit.asked(self._caller, "pin_release", service, asked) as audit:
            self._known.of_service(service, field="service")
            row = PinRow(service, version, self._clock.now().wall, audit.who)
            kept = await self._engine.change_pins(
                service,
                lambda pins: pins.add(row),
                audit,
                lambda: self._reception.pins_changed(service),
            )
        return self._view_pin(kept)

    async def unpin_release(self, service: str, version: str) -> Pin:
        """(+) Let a version go the way of all releases; the hosts' next clean-up may remove it.

        Raises `NotFoundError` if it is not pinned.
        """
        asked = {"service": service, "version": version}
        parse_params(PinParams, asked)
        with self._audit.asked(self._caller, "unpin_release", service, asked) as audit:
            self._known.service(service)
            gone = await self._engine.change_pins(
                service,
                lambda pins: pins.remove(service, version),
                audit,
                lambda: self._reception.pins_changed(service),
            )
        return self._view_pin(gone)

    async def list_pins(self, service: str = "") -> PinList:
        """(+) Pinned versions, newest first, each with how many instances have it on disk."""
        parse_params(PinListParams, {"service": service})
        if service:
            self._known.service(service)
        rows = sorted(self._fleet.pins.values(), key=lambda row: row.created_at, reverse=True)
        return PinList(
            pins=[
                self._view_pin(row)
                for row in rows
                if self._known.sees(row.service) and service in ("", row.service)
            ]
        )

    def _view_pin(self, row: PinRow) -> Pin:
        instances = self._fleet.of_service(row.service)
        return Pin(
            service=row.service,
            version=row.version,
            created_at=row.created_at,
            created_by=row.created_by,
            instances=len(instances),
            on_disk=sum(one.has_on_disk(row.version) for one in instances),
        )
