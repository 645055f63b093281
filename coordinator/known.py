"""What a request names: whether it is known, of one service, and the caller's to see.

All that the service shows or acts on is looked up here, so that this is the one place where
a caller's restriction to some services is held. A service that is named and is none of
theirs is refused, whether it exists or not; tasks and instances of such services are as if
they did not exist. Refusals name the field and everything that stands in the way.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from coordinator.caller import Caller
from coordinator.conflicts import id_field, no_task, unknown_instances
from coordinator.core.task import Task
from coordinator.engine import Engine
from coordinator.fleet import Fleet
from coordinator.ports import EventRow, InstanceRow, Store
from protocol.errors import InvalidRequestError, NotFoundError, PermissionDeniedError
from protocol.names import check_name
from protocol.states import TaskKind


class Known:
    """Looks names up for one caller."""

    def __init__(self, fleet: Fleet, engine: Engine, store: Store, caller: Caller) -> None:
        self._fleet = fleet
        self._engine = engine
        self._store = store
        self._caller = caller

    # ---- services ----------------------------------------------------------

    def sees(self, service: str) -> bool:
        """Whether the service is the caller's."""
        return self._caller.sees(service)

    def service(self, name: str, field: str = "service") -> str:
        """Return the name if the service is the caller's; else raise `PermissionDeniedError`."""
        if self._caller.sees(name):
            return name
        patterns = ", ".join(self._caller.services)
        message = f"the token is restricted to the services {patterns}; {name} is none of them"
        raise PermissionDeniedError(f"{field}: {message}", [{"field": field, "message": message}])

    def services(self) -> list[str]:
        """The services that have instances, the latest changed first."""
        return [name for name in self._fleet.services() if self._caller.sees(name)]

    async def services_of_tasks(self, service: str = "") -> Collection[str] | None:
        """Of which services tasks are shown: of `service`, or of all that are the caller's.

        None if there is no limit.
        """
        if service:
            return [self.service(service)]
        if not self._caller.restricted:
            return None
        return [name for name in await self._store.services_of_tasks() if self._caller.sees(name)]

    # ---- instances ---------------------------------------------------------

    def instances(self) -> list[InstanceRow]:
        """Every instance."""
        return [row for row in self._fleet.all_instances() if self._caller.sees(row.service)]

    def hosts_of(self, service: str = "") -> Collection[str] | None:
        """The hosts of `service`, or of all services that are the caller's; None: any host."""
        if service:
            return {row.host_id for row in self._fleet.of_service(self.service(service))}
        return {row.host_id for row in self.instances()} if self._caller.restricted else None

    def instance(self, instance_id: str) -> InstanceRow | None:
        """The instance's row; None if there is none for this caller."""
        row = self._fleet.instance(instance_id)
        return row if row is not None and self._caller.sees(row.service) else None

    def one(self, instance_id: str) -> InstanceRow:
        """The instance's row, or `NotFoundError`."""
        row = self.instance(instance_id)
        if row is None:
            raise unknown_instances([instance_id], "instance_id")
        return row

    def of_service(
        self, service: str, had: Collection[str] = (), field: str = "service_name"
    ) -> list[InstanceRow]:
        """The service's instances by id; `NotFoundError` if it has none and `had` none."""
        rows = self._fleet.of_service(self.service(service, field))
        if not rows and not had:
            raise NotFoundError(
                f"no service {service}: no agent ever reported an instance of it",
                [{"field": field, "message": "unknown"}],
            )
        return rows

    def past_of(self, row: InstanceRow) -> str:
        """As an instance of which service its past is shown; "": of any that it ever was of."""
        return row.service if self._caller.restricted else ""

    def all_of(self, instances: Sequence[str], service: str) -> list[InstanceRow]:
        """The rows of these instances.

        Raises `NotFoundError` naming the unknown ones, `InvalidRequestError` naming those of
        another service.
        """
        found = {name: self.instance(name) for name in instances}
        if unknown := [name for name, row in found.items() if row is None]:
            raise unknown_instances(unknown)
        rows = [row for row in found.values() if row is not None]
        if others := [row for row in rows if row.service != service]:
            named_ones = ", ".join(f"{row.instance_id} is of {row.service}" for row in others[:5])
            raise InvalidRequestError(
                f"instances: must be instances of {service}; {named_ones}",
                [
                    {
                        "field": "instances",
                        "instance_id": row.instance_id,
                        "service": row.service,
                        "message": f"is not an instance of {service}",
                    }
                    for row in others
                ],
            )
        return rows

    # ---- tasks and events --------------------------------------------------

    async def may_name(self, kind: TaskKind, task_id: str) -> None:
        """Raise `NotFoundError` if the task is of a service that is not the caller's."""
        _named(id_field(kind), task_id)
        if self._caller.restricted:
            await self.task(kind, task_id)

    async def task(self, kind: TaskKind, task_id: str) -> Task:
        """The task as it is saved, or `NotFoundError`."""
        _named(id_field(kind), task_id)
        task = await self._engine.task(task_id)
        if task is None or task.kind is not kind or not self._caller.sees(task.service):
            raise no_task(kind, task_id)
        return task

    def shows(self, event: EventRow) -> bool:
        """Whether the event is of a service of the caller's; one of none is for all services."""
        service = event.data.get("service")
        return not self._caller.restricted or bool(service and self._caller.sees(service))


def _named(field: str, text: object) -> None:
    """Return if `text` is a valid id; else raise `InvalidRequestError` naming the field."""
    try:
        check_name(text if isinstance(text, str) else "")
    except ValueError as error:
        raise InvalidRequestError(
            f"{field}: {error}", [{"field": field, "message": str(error)}]
        ) from None
