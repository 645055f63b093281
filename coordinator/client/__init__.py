"""The client library: `AsyncClient`, and `Client` for plain scripts.

Both carry the twelve documented functions over HTTPS and raise the exceptions of
`protocol.errors`. Nothing here needs the daemon's libraries.
"""

from __future__ import annotations

from coordinator.client.asynchronous import AsyncClient
from coordinator.client.blocking import Client

__all__ = ["AsyncClient", "Client"]
