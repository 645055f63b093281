"""A coordinator that says what it was told to say: documented HTTP over real TLS, in a thread.

A route is scripted with replies that are given in their order; the last one stays.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from aiohttp import web

from protocol.messages import FIXED_SERVER_NAME

TOKEN = "test-token"
AT = "2026-01-02T03:04:05.678Z"


@dataclass(frozen=True)
class Reply:
    """One answer: the status and the bytes; `hang` keeps the client waiting instead."""

    status: int
    body: bytes
    content_type: str = "application/json"
    hang: bool = False
    drop: bool = False


@dataclass(frozen=True)
class Seen:
    """One request as it came."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


def ok(data: Any) -> Reply:
    return Reply(200, json.dumps({"code": 200, "message": "success", "data": data}).encode())


def refusal(code: int, type_: str, message: str, details: list[Any] | None = None) -> Reply:
    data = {"type": type_, "details": details or []}
    return Reply(code, json.dumps({"code": code, "message": message, "data": data}).encode())


def hang() -> Reply:
    return Reply(200, b"", hang=True)


def drop() -> Reply:
    return Reply(200, b"", drop=True)


@dataclass
class FakeCoordinator:
    """Where it is and what it was asked."""

    ca_file: Path
    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    _script: dict[tuple[str, str], list[Reply]] = field(default_factory=dict)

    def script(self, method: str, path: str, *replies: Reply) -> None:
        """Answer `method path` (path as on the wire) with these, the last one for ever."""
        self._script[method, path] = list(replies)

    def asked(self, method: str, path: str) -> list[Seen]:
        return [seen for seen in self.seen if (seen.method, seen.path) == (method, path)]

    @property
    def environment(self) -> dict[str, str]:
        return {
            "FERRYMAN_URL": self.url,
            "FERRYMAN_TOKEN": TOKEN,
            "FERRYMAN_CA_FILE": str(self.ca_file),
        }

    async def handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        path = request.raw_path.partition("?")[0]
        body = json.loads(raw) if raw else None
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append(Seen(request.method, path, dict(request.query), headers, body))
        reply = self._reply(request.method, path, headers)
        if reply.hang:
            await asyncio.Event().wait()
        if reply.drop and request.transport is not None:
            request.transport.abort()
        return web.Response(status=reply.status, body=reply.body, content_type=reply.content_type)

    def _reply(self, method: str, path: str, headers: Mapping[str, str]) -> Reply:
        if headers.get("authorization") != f"Bearer {TOKEN}":
            return refusal(401, "unauthenticated", "the token is not known")
        replies = self._script.get((method, path))
        if not replies:
            return refusal(404, "not_found", f"nothing at {method} {path}")
        return replies.pop(0) if len(replies) > 1 else replies[0]


@contextmanager
def fake_coordinator(folder: Path, *, names: tuple[str, ...] = ()) -> Iterator[FakeCoordinator]:
    """Serve one on loopback; its certificate is for `names`, else for all that tests use."""
    authority = trustme.CA()
    ca_file = folder / "fake-ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    held = names or ("127.0.0.1", "localhost", FIXED_SERVER_NAME)
    authority.issue_cert(*held).configure_cert(context)
    fake = FakeCoordinator(ca_file)
    started = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", fake.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        fake.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
        started.set()
        await stop.wait()
        await runner.cleanup()

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(20), "the fake coordinator did not start"
    try:
        yield fake
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        assert not thread.is_alive()


# ---- documented answers ----------------------------------------------------


def row(instance: str, status: str = "completed", **more: Any) -> dict[str, Any]:
    """One assignment of a task."""
    return {
        "instance_id": instance,
        "status": status,
        "current_version": "v1",
        "target_version": "v2",
        "started_at": AT,
        "completed_at": None,
        "error_message": "",
        "phase": {"in_progress": "preparing", "pending": "waiting"}.get(status, status),
    } | more


def task(status: str, rows: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A deployment in this state."""
    count = [r["status"] for r in rows].count
    pending = count("pending") + count("in_progress")
    return {
        "deploy_id": "d-1",
        "service": "web",
        "version": "v2",
        "status": status,
        "progress": {
            "total": len(rows),
            "completed": count("completed"),
            "failed": count("failed"),
            "pending": pending,
            "in_progress": count("in_progress"),
            "cancelled": count("cancelled"),
        },
        "instances": rows,
        "started_at": AT,
        "updated_at": AT,
    } | more


def cause(message: str, names: list[str], fault: str = "unknown", **more: Any) -> dict[str, Any]:
    """One `FailureCause`, of these instances."""
    return {
        "message": message,
        "fault": fault,
        "why": "it is said so",
        "count": len(names),
        "instances": names,
    } | more


def rollback(
    status: str, rows: list[dict[str, Any]], rollback_id: str, **more: Any
) -> dict[str, Any]:
    """A rollback in this state."""
    made = task(status, rows, **more) | {
        "rollback_id": rollback_id,
        "target_version": "v1",
        "rollback_type": "batch",
        "completed_at": None,
    }
    return {name: value for name, value in made.items() if name not in ("deploy_id", "version")}


def prefetch(
    status: str, rows: list[dict[str, Any]], prefetch_id: str = "prefetch-1"
) -> dict[str, Any]:
    """A prefetch in this state."""
    made = task(status, rows) | {
        "prefetch_id": prefetch_id,
        "digest": "",
        "completed_at": None,
        "cancelled_at": None,
    }
    return {name: value for name, value in made.items() if name != "deploy_id"}


def prefetch_accepted(total: int = 2, prefetch_id: str = "prefetch-1") -> dict[str, Any]:
    """A `PrefetchResult`."""
    return {
        "prefetch_id": prefetch_id,
        "service": "web",
        "version": "v2",
        "status": "pending",
        "total_instances": total,
        "started_at": AT,
    }


def accepted(total: int = 2, deploy_id: str = "d-1") -> dict[str, Any]:
    """A `DeployResult`."""
    return {
        "deploy_id": deploy_id,
        "service": "web",
        "version": "v2",
        "status": "pending",
        "total_instances": total,
        "started_at": AT,
    }


def instance(name: str, **more: Any) -> dict[str, Any]:
    """One row of reference 2.2."""
    return {
        "instance_id": name,
        "host": "10.0.0.5",
        "port": 8080,
        "status": "running",
        "version": "v1",
        "last_heartbeat": AT,
        "metadata": {},
        "host_id": "host-a",
        "connected": True,
        "reason": "",
    } | more


def instance_page(rows: list[dict[str, Any]], total: int, offset: int = 0) -> dict[str, Any]:
    """A `ServiceInstances`."""
    return {"service": "web", "instances": rows, "total": total, "limit": 1000, "offset": offset}


def token(role: str = "viewer", **more: Any) -> dict[str, Any]:
    """A `Token`."""
    return {
        "token_id": "t-1",
        "role": role,
        "name": "",
        "created_at": AT,
        "expires_at": AT,
        "last_used_at": None,
        "revoked_at": None,
    } | more


def host(state: str, **more: Any) -> dict[str, Any]:
    """A `Host` that asks to be let in, or did."""
    return {
        "host_id": "host-a",
        "connected": False,
        "agent_version": "",
        "address": "10.0.0.5",
        "instances": [],
        "joined_at": None,
        "last_heartbeat": AT,
        "state": state,
    } | more


def ready(name: str, **more: Any) -> dict[str, Any]:
    """One row of a `RollbackReadiness`."""
    return {
        "instance_id": name,
        "host_id": "host-a",
        "connected": True,
        "current_version": "v2",
        "version": "v1",
        "source": "from_disk",
        "digest": "ab" * 32,
        "proven_ago": 7_300.0,
        "reason": "on the host's disk, verified",
    } | more


def readiness(*rows: dict[str, Any]) -> dict[str, Any]:
    """A `RollbackReadiness`."""
    counts = {
        source: sum(row["source"] == source for row in rows)
        for source in ("from_disk", "from_url", "no_target")
    }
    return {"service": "web", "version": "", "instances": list(rows), "updated_at": AT} | counts
