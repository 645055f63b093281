"""The live picture of the fleet: what every agent last said, and when it was last heard.

It is a cache: rows come from the store at start and follow each commit. Only the
heartbeat times live here alone; a restart begins with every host unheard.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from coordinator.core.fleet import is_away
from coordinator.core.pins import Key, PinRow
from coordinator.core.task import Moment
from coordinator.ports import Clock, HostRow, InstanceRow


class Fleet:
    """Hosts and instances by name, and who is connected."""

    def __init__(self, clock: Clock, heartbeat_interval: float) -> None:
        self.heartbeat_interval = heartbeat_interval
        self._clock = clock
        self._instances: dict[str, InstanceRow] = {}
        self._by_service: dict[str, set[str]] = {}
        self._by_host: dict[str, set[str]] = {}
        self._hosts: dict[str, HostRow] = {}
        self._pins: dict[Key, PinRow] = {}
        self._heard: dict[str, Moment] = {}

    def load(self, hosts: Iterable[HostRow], instances: Iterable[InstanceRow]) -> None:
        """Take over rows that are committed."""
        for host in hosts:
            self._hosts[host.host_id] = host
        for row in instances:
            old = self._instances.get(row.instance_id)
            if old is not None:
                self._by_service[old.service].discard(row.instance_id)
                self._by_host[old.host_id].discard(row.instance_id)
            self._instances[row.instance_id] = row
            self._by_service.setdefault(row.service, set()).add(row.instance_id)
            self._by_host.setdefault(row.host_id, set()).add(row.instance_id)

    def forget(self, instance_ids: Iterable[str]) -> None:
        """Let go of instances whose rows are gone."""
        for name in instance_ids:
            if (old := self._instances.pop(name, None)) is not None:
                self._by_service[old.service].discard(name)
                self._by_host[old.host_id].discard(name)

    def load_pins(self, pinned: Iterable[PinRow], unpinned: Iterable[Key] = ()) -> None:
        """Take over pins that are committed, once those that are gone were let go of."""
        for key in unpinned:
            self._pins.pop(key, None)
        self._pins |= {(row.service, row.version): row for row in pinned}

    @property
    def pins(self) -> Mapping[Key, PinRow]:
        """Every pinned version, by service and version."""
        return self._pins

    def gone(self, host_id: str) -> None:
        """The host may not speak any more: it is not connected from now on."""
        self._heard.pop(host_id, None)

    def heard(self, host_id: str) -> None:
        """The host has just said something."""
        self._heard[host_id] = self._clock.now()

    def instance(self, instance_id: str) -> InstanceRow | None:
        """The instance's row; None if no agent ever reported it."""
        return self._instances.get(instance_id)

    def host_of(self, instance_id: str) -> str:
        """The instance's host; "" if no agent ever reported it."""
        row = self._instances.get(instance_id)
        return row.host_id if row is not None else ""

    def of_service(self, service: str) -> list[InstanceRow]:
        """The service's instances by id; empty if there is no such service."""
        return [self._instances[name] for name in sorted(self._by_service.get(service, ()))]

    def of_host(self, host_id: str) -> list[InstanceRow]:
        """The host's instances by id."""
        return [self._instances[name] for name in sorted(self._by_host.get(host_id, ()))]

    def all_instances(self) -> list[InstanceRow]:
        """Every instance."""
        return list(self._instances.values())

    def services(self) -> list[str]:
        """The names of the services that have instances, the latest changed first."""
        changed = {
            name: max(self._instances[member].updated_at for member in members)
            for name, members in self._by_service.items()
            if members
        }
        return sorted(changed, key=lambda name: (changed[name], name), reverse=True)

    def host(self, host_id: str) -> HostRow | None:
        """The host's row; None if it never joined."""
        return self._hosts.get(host_id)

    def host_count(self) -> int:
        """How many hosts have joined."""
        return len(self._hosts)

    def all_hosts(self) -> list[HostRow]:
        """Every host that joined, newest first."""
        return sorted(
            self._hosts.values(), key=lambda host: (host.joined_at, host.host_id), reverse=True
        )

    def host_connected(self, host_id: str) -> bool:
        """Whether the host has been heard of within three heartbeats."""
        heard = self._heard.get(host_id)
        now = self._clock.now().steady
        return not is_away(heard.steady if heard else None, now, self.heartbeat_interval)

    def connected(self, instance_id: str) -> bool:
        """Whether the instance's host has been heard of within three heartbeats."""
        row = self._instances.get(instance_id)
        return row is not None and self.host_connected(row.host_id)

    def silent(self, instance_ids: Iterable[str]) -> dict[str, datetime | None]:
        """Those whose host is not connected, and when it was last heard of, if that is known."""
        hosts: dict[str, bool] = {}
        found = {}
        for name in instance_ids:
            host_id = self.host_of(name)
            if host_id and host_id not in hosts:
                hosts[host_id] = self.host_connected(host_id)
            if not hosts.get(host_id, True):
                found[name] = self.last_seen(host_id)
        return found

    def last_seen(self, host_id: str) -> datetime | None:
        """When the host was last heard of, in the coordinator's wall time."""
        heard = self._heard.get(host_id)
        if heard is not None:
            return heard.wall
        host = self._hosts.get(host_id)
        return host.last_seen if host else None
