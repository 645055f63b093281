"""How hosts are shown: those that were decided of, and those that ask."""

from __future__ import annotations

from collections.abc import Callable

from coordinator.admission import LET_IN
from coordinator.fleet import Fleet
from coordinator.ports import HostRow
from coordinator.waiting import Request
from protocol.access import Host
from protocol.states import HostState


def host_view(row: HostRow, fleet: Fleet, sees: Callable[[str], bool], reason: str) -> Host:
    """A host of the database, with its instances of the services that `sees` names."""
    has_joined = row.state is HostState.JOINED or bool(row.agent_version)
    return Host(
        host_id=row.host_id,
        connected=row.state in LET_IN and fleet.host_connected(row.host_id),
        agent_version=row.agent_version,
        address=row.address,
        instances=[one.instance_id for one in fleet.of_host(row.host_id) if sees(one.service)],
        joined_at=row.joined_at if has_joined else None,
        last_heartbeat=fleet.last_seen(row.host_id) or row.joined_at,
        state=row.state,
        fingerprint=row.fingerprint,
        state_since=row.state_since or row.joined_at,
        reason=reason,
    )


def request_view(request: Request) -> Host:
    """A host that asks to be let in."""
    return Host(
        host_id=request.host_id,
        connected=False,
        agent_version="",
        address=request.address,
        instances=[],
        joined_at=None,
        last_heartbeat=request.last_asked,
        state=HostState.PENDING,
        fingerprint=request.fingerprint,
        state_since=request.asked_at,
        reason=f"ferryman host approve {request.host_id} lets it in",
    )
