"""Which strategy a task gets: what was asked for, over what the configuration has by that name.

A deployment that asks for none gets its service's default, if there is one; `{}` asks for none
of them. A rollback gets only what was asked for: nothing may hold the way back.
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
        if asked is None:
            asked = next(
                (
                    Strategy(name=name)
                    for pattern, name in self.defaults.items()
                    if fnmatchcase(service, pattern)
                ),
                None,
            )
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
