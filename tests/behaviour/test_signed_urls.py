"""A package URL's query, which may be a signature, gets to the package server and nowhere else.

It rests in the coordinator's database, which has to hand it to agents. No answer, event,
reason, log or file of a host holds it, whatever the package server does.
"""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from coordinator.http.routes import ROUTES
from protocol.access import TokenParams
from protocol.logs import QUIETER
from protocol.models import InstanceRollbackParams
from protocol.states import TaskState
from tests.behaviour.world import Place, World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.sweep]

MARK = "s1gnature"
QUERY = f"?as='a.tgz'&X-Signature={MARK}&Expires=60"
FAULTS = ["missing", "elsewhere", "plain", "round-and-round", "cut-off", "no-archive", "changed"]


class Signed:
    """Deploys one instance's service from signed URLs, from a server that may do anything."""

    def __init__(self, world: World, place: Place) -> None:
        self.world = world
        self.place = place
        self.packages = world.site.packages

    async def deploy(self, version: str, url: str, **options: Any) -> TaskState:
        status = await self.world.deployed(version, self.place, package_url=url + QUERY, **options)
        return status.status

    async def meets(self, fault: str) -> TaskState:
        """Deploy a version whose package does not come as it should."""
        name = self.world.name(fault)
        url = self.world.put(fault) if fault != "missing" else self.packages.url(name)
        options: dict[str, Any] = {}
        match fault:
            case "elsewhere":
                self.packages.redirect(name, self.packages.url("nowhere") + QUERY)
            case "plain":
                self.packages.redirect(name, f"http://user:{MARK}@127.0.0.1:1/p" + QUERY)
            case "round-and-round":
                self.packages.redirect(name, url + QUERY)
            case "cut-off":
                self.packages.truncate(name, at=0, times=100)
            case "no-archive":
                url = self.packages.put(name, b"no archive at all" * 10)
            case "changed":
                options["sha256"] = "0" * 64
        return await self.deploy(fault, url, **options)


def listen(caplog: pytest.LogCaptureFixture) -> None:
    """All that anything logs, but for what no daemon lets through: statements with values."""
    caplog.set_level(logging.DEBUG)
    caplog.set_level(QUIETER["aiosqlite"], logger="aiosqlite")


async def shown_to_a_viewer(own: World, place: Place, *task_ids: str) -> str:
    """Every answer that a viewer can get of the service, and all events."""
    made = await own.site.coordinator.create_token(TokenParams(role="viewer"))
    told = ""
    for route in ROUTES:
        if route.method != "GET" or route.result is None or route.name == "events":
            continue
        for task_id in task_ids:
            path = route.path.format(
                deploy_id=task_id,
                rollback_id=task_id,
                prefetch_id=task_id,
                service=own.service,
                instance_id=place.id,
                **{name: "x" for name in route.path_fields if name in ("token_id", "host_id")},
            )
            answer = await own.site.ask("GET", path, token=made.secret)
            told += json.dumps(answer.body)
    last = await own.place(service=f"last-{own.number}")
    event = ""
    async with own.site.events(made.secret, after=0) as stream, asyncio.timeout(60):
        while last.id not in event:
            event = (await stream.content.readline()).decode()
            told += event
    return told


def files_under(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


async def test_a_signature_reaches_the_package_server_and_nobody_who_looks(
    own: World, caplog: pytest.LogCaptureFixture
) -> None:
    listen(caplog)
    place = await own.place()
    signed = Signed(own, place)
    asked = own.site.packages.queries
    asked.clear()
    assert await signed.deploy("v1", own.put("v1")) is TaskState.COMPLETED
    assert asked == [QUERY.removeprefix("?")], "the server checks the whole URL"
    for fault in FAULTS:
        assert await signed.meets(fault) is TaskState.FAILED, fault
    rollback = await own.site.coordinator.rollback_instance(
        InstanceRollbackParams(
            instance_id=place.id, target_version="v2", package_url=own.put("v2") + QUERY
        )
    )
    assert (await own.rollback_ended(rollback.rollback_id)).status is TaskState.COMPLETED
    tasks = await own.task_ids()
    assert len(tasks) == 2 + len(FAULTS)

    told = await shown_to_a_viewer(own, place, *tasks)
    assert "the server answered 404" in told, "the reasons are there"
    assert MARK not in told
    assert MARK not in caplog.text
    host = files_under(place.agent.state_dir)
    assert [name for name, data in host.items() if MARK.encode() in data] == []
    assert any(name.startswith("journal/") for name in host)
    kept = files_under(own.site.coordinator.settings.data_dir)
    holding = {name.partition("-")[0] for name, data in kept.items() if MARK.encode() in data}
    assert holding == {"coordinator.db"}


async def test_no_refusal_repeats_it(own: World, caplog: pytest.LogCaptureFixture) -> None:
    listen(caplog)
    place = await own.place("v1")
    body = own.params("v2", place, package_url=own.put("v2") + QUERY).model_dump(mode="json")
    body["sha256"] = None
    accepted = await own.site.ask("POST", "/v1/deployment", body)
    assert accepted.status == 200
    await own.ended(body["deploy_id"])
    name = f"user:{MARK}@packages.example.com"
    for change, code in (
        ({"package_url": f"https://{name}/p.tar.gz"}, 400),
        ({"package_url": f"http://packages.example.com/p.tar.gz{QUERY}"}, 400),
        ({"package_url": f"https://packages.example.com/p.tar.gz{QUERY}\n"}, 400),
        ({"package_url": [f"https://packages.example.com/p.tar.gz{QUERY}"]}, 400),
        ({"package_url": f"https://packages.example.com/other.tar.gz{QUERY}"}, 409),
        ({"deploy_id": own.new_id(), "instances": ["nobody"]}, 404),
        ({"deploy_id": own.new_id(), "service": "another"}, 400),
    ):
        answer = await own.site.ask("POST", "/v1/deployment", {**body, **change})
        assert answer.status == code, answer
        assert MARK not in str(answer.body)
    answer = await own.site.ask("GET", f"/v1/deployment{QUERY}")
    assert answer.status == 400
    assert MARK not in str(answer.body)
    answer = await own.site.ask("GET", f"/v1/no-such-route{QUERY}")
    assert answer.status == 404
    assert MARK not in str(answer.body)
    assert MARK not in caplog.text


async def test_what_a_service_says_last_keeps_no_signature(own: World) -> None:
    """The agent shows what the service said; a URL in that is cut as every other."""
    place = await own.place("v1")
    place.check.sick["v2"] = f"can't load https://config.example.com/c.json{QUERY}: 403"
    failed = await own.deployed("v2", place)
    (part,) = failed.instances
    assert "https://config.example.com/c.json?…" in part.error_message
    assert "403" in part.error_message
    assert MARK not in failed.model_dump_json()
