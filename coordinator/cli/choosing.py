"""Which instances a command means: named ones, all, those with some metadata, a task's rest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from coordinator.cli.tasks import find_status
from protocol.errors import NotFoundError

if TYPE_CHECKING:
    from coordinator.client import AsyncClient
    from protocol.models import ServiceInstance

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the four ways, as it was given."""

    named: tuple[str, ...]
    everything: bool
    where: tuple[tuple[str, str], ...]
    rest_of: str = ""

    async def resolve(
        self, client: AsyncClient, service: str, version: str, *, back: bool = False
    ) -> list[str]:
        """The ids of those that are to run `version`, in the coordinator's order.

        `back`: it is one to go back to. Raises `NotFoundError` if there are none.
        """
        if self.named:
            return list(self.named)
        if self.rest_of:
            return await self._rest(client, version, back=back)
        found = [row.instance_id async for row in pages(client, service) if self._takes(row)]
        if not found:
            wanted = " and ".join(f"{key}={value}" for key, value in self.where)
            raise NotFoundError(
                f"no instance of {service} has {wanted}" if wanted else f"{service} has no instance"
            )
        return found

    async def _rest(self, client: AsyncClient, version: str, *, back: bool) -> list[str]:
        """The task's instances that don't run the version; to go back, something must run there."""
        status = await find_status(client, self.rest_of)
        without = (version, "") if back else (version,)
        found = [r.instance_id for r in status.instances if r.current_version not in without]
        if not found:
            raise NotFoundError(f"no instance of {self.rest_of} runs anything but {version}")
        return found

    def _takes(self, row: ServiceInstance) -> bool:
        own = {"host": row.host, "host_id": row.host_id}
        return all(
            own.get(key) == value or row.metadata.get(key) == value for key, value in self.where
        )


def chosen(
    instances: Sequence[str], all_: bool, where: Sequence[str], rest_of: str | None
) -> Choice:
    """What the options say, or a usage error unless exactly one way was taken."""
    if bool(instances) + all_ + bool(where) + bool(rest_of) != 1:
        raise click.UsageError(
            "say which instances: --instances a,b or --all or --where KEY=VALUE or --rest-of ID"
        )
    named = tuple(part.strip() for given in instances for part in given.split(","))
    pairs = [text.partition("=") for text in where]
    if any(not key or not equals for key, equals, _ in pairs):
        raise click.BadOptionUsage("where", "--where takes KEY=VALUE, such as zone=a")
    return Choice(named, all_, tuple((key, value) for key, _, value in pairs), rest_of or "")


async def pages(client: AsyncClient, service: str) -> AsyncIterator[ServiceInstance]:
    """Every instance of a service."""
    from protocol.models import InstanceQueryParams  # noqa: PLC0415

    offset = 0
    while True:
        page = await client.get_service_instances(
            InstanceQueryParams(service_name=service, limit=PAGE, offset=offset)
        )
        for row in page.instances:
            yield row
        offset += len(page.instances)
        if not page.instances or offset >= page.total:
            return
