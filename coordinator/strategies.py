"""Which strategy a task gets: what was asked for, over what the configuration has by that name.

A deployment that names none gets its service's default, if there is one, with the fields that it
gives over it; `{}` asks for none at all. A rollback gets only what was asked for: nothing may hold
the way back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from protocol.errors import NotFoundError
from protocol.strategy import (
    ConfiguredStrategy,
    DefaultStrategy,
    Strategy,
    StrategyList,
    UnnamedStrategy,
)


@dataclass(frozen=True, slots=True)
class Strategies:
    """The named strategies, and which services take which of them by default."""

    named: Mapping[str, UnnamedStrategy] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    """By pattern of the service's name: the first one that matches counts."""

    def of_deployment(self, asked: Strategy | None, service: str) -> Strategy | None:
        """The strategy of a deployment; `NotFoundError` for a name that is not known."""
        none_at_all = asked is not None and not asked.model_fields_set
        default = None if none_at_all else self._default(service)
        if default is not None and (asked is None or asked.name is None):
            asked = (asked or Strategy()).model_copy(update={"name": default})
        return self.of_rollback(asked)

    def of_rollback(self, asked: Strategy | None) -> Strategy | None:
        """The strategy of a rollback; `NotFoundError` for a name that is not known."""
        if asked is None or not asked.model_fields_set:
            return None
        if asked.name is None:
            return asked
        if asked.name not in self.named:
            known = ", ".join(self.named) or "none"
            message = f"no strategy {asked.name} in the configuration; it has {known}"
            raise NotFoundError(
                f"strategy.name: {message}", [{"field": "strategy.name", "message": message}]
            )
        return asked.over(self.named[asked.name])

    def _default(self, service: str) -> str | None:
        """The name of the strategy that the service's deployments get; None if there is none."""
        found = (name for pattern, name in self.defaults.items() if fnmatchcase(service, pattern))
        return next(found, None)

    def listed(self, services: Collection[str] | None) -> StrategyList:
        """All of them; of the defaults those for one of these services, None: all."""
        return StrategyList(
            strategies=[
                ConfiguredStrategy(name=name, strategy=strategy)
                for name, strategy in self.named.items()
            ],
            defaults=[
                DefaultStrategy(services=pattern, name=name)
                for pattern, name in self.defaults.items()
                if services is None or any(fnmatchcase(one, pattern) for one in services)
            ],
        )
