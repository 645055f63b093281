"""Hosts are told which versions are pinned, over the connection that they hold.

A host is always told the whole set for its services, so that nothing has to be remembered
for those that were away: right after its inventory, and whenever a pin of one of its services
changes. A host whose agent is too old for it is told nothing, and keeps what its settings say.
"""

from __future__ import annotations

from coordinator.fleet import Fleet
from coordinator.session import Session
from protocol.messages import PINS_MINOR, PinnedVersion, Pins


def tell_pins(fleet: Fleet, session: Session) -> None:
    """Tell the host everything that is pinned of its services.

    A frame that could not be queued is no loss: who has stopped reading is told again when it
    returns.
    """
    if session.minor < PINS_MINOR:
        return
    services = {row.service for row in fleet.of_host(session.host_id)}
    pinned = [
        PinnedVersion(service=row.service, version=row.version)
        for row in fleet.pins.values()
        if row.service in services
    ]
    session.put(Pins(pins=pinned))
