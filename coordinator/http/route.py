"""What one route is: everything that router, authorisation and OpenAPI need to know of it.

The routes themselves stand in `routes.py`. Nothing here serves anything.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from pydantic import BaseModel

from coordinator.caller import Caller, Role
from coordinator.http.params import NoParams
from coordinator.http.ports import Doors
from coordinator.permissions import ROUTES, Permission
from protocol.errors import FerrymanError
from protocol.params import Params

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


class Answer(Enum):
    """What kind of answer a route gives."""

    ENVELOPE = "envelope"
    EVENTS = "events"
    DOCUMENT = "document"
    SOCKET = "socket"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, read and validated: `params` is an instance of the route's model."""

    doors: Doors
    params: Any
    caller: Caller


Call = Callable[[Asked], Awaitable[BaseModel]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row of the table."""

    method: str
    path: str
    name: str
    """The library's name of the function; the operation's id in OpenAPI."""
    summary: str
    success: str
    """What a 200 says, for the OpenAPI document."""
    section: str = ""
    """The reference's section; "" for an addition."""
    params: type[Params] = NoParams
    result: type[BaseModel] | None = None
    call: Call | None = None
    """Asks the service; None where `answer` is not an envelope."""
    reads: bool = False
    """Whether it is a POST that changes nothing: it only has too much to ask for a query."""
    refuses: tuple[type[FerrymanError], ...] = ()
    """Refusals of its own, besides those that every such route has."""
    answer: Answer = Answer.ENVELOPE
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Placeholders of the path that the model names otherwise."""

    @property
    def permission(self) -> Permission:
        """What it asks of its caller. Raises KeyError if the table of permissions has no row."""
        return ROUTES[self.name]

    @property
    def role(self) -> Role | None:
        """The role that it needs; None: no token is needed."""
        return self.permission.role

    @property
    def changes(self) -> bool:
        """Whether it changes something: every such request is in the audit trail."""
        return self.method != "GET" and not self.reads

    @property
    def path_fields(self) -> dict[str, str]:
        """Each placeholder of the path with the model's field that it fills."""
        return {name: self.renamed.get(name, name) for name in _PLACEHOLDER.findall(self.path)}

    @property
    def other_fields(self) -> list[str]:
        """The model's fields that the query (GET) or the body (POST) brings."""
        return [name for name in self.params.model_fields if name not in self.path_fields.values()]
