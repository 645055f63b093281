"""What is asked over HTTP: refusals whose parts are secrets, and every route by each role."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp

from coordinator.http.routes import ROUTES
from protocol.access import TokenParams
from protocol.errors import FerrymanError
from tests.e2e.canary.planted import SECRETS, Run


@asynccontextmanager
async def followed_events(run: Run) -> AsyncIterator[None]:
    """Have the event stream written down while the block runs, over crashes."""

    async def follow() -> None:
        after = 0
        while True:
            with suppress(FerrymanError):
                async for event in run.system.client.events(after):
                    run.see("event stream", event.model_dump_json())
                    after = event.seq
            await asyncio.sleep(0.1)  # it is down: not to be asked without a pause

    following = asyncio.create_task(follow())
    yield
    following.cancel()
    await asyncio.wait([following])


async def make_tokens(run: Run) -> None:
    for role in ("viewer", "deployer", "admin", "join"):
        params = TokenParams.model_validate({"role": role, "name": f"canary-{role}", "ttl": 3600})
        made = await run.system.client.create_token(params)
        run.texts[role] = made.secret
        run.know_token(f"{role}'s token", made.secret)
        run.see("a token's answer", made.model_dump_json(exclude={"secret"}))
    await run.system.client.revoke_token(made.token_id)


async def be_refused(run: Run) -> None:
    """Bad requests whose parts are secrets: what is told back, and what is kept."""
    wrong = SECRETS["wrong"]
    bodies: list[dict[str, object]] = [
        {"package_url": f"http://127.0.0.1/p.tar.gz?sig={wrong}"},
        {"package_url": f"https://user:{wrong}@127.0.0.1/p.tar.gz"},
        {"package_url": f"https://127.0.0.1:99999/p.tar.gz?sig={wrong}"},
        {"package_url": f"https://127.0.0.1/p q.tar.gz?sig={wrong}"},
        {"package_url": 7, "surprise": wrong},
        {"package_url": run.signed("v1", wrong), "instances": ["nobody"]},
        {"package_url": run.signed("v1", wrong), "version": "../.."},
        {"package_url": run.signed("v1", wrong), "sha256": wrong},
    ]
    sound = {"service": "user-service", "version": "v1", "instances": ["instance-1"]}
    for number, body in enumerate(bodies):
        status, text = await ask(run, "POST", "/v1/deployment", "deployer", sound | body)
        assert status in (400, 404, 422), text
        run.see(f"refusal {number}", text)
    for bad in (f"ferryman-admin-{wrong}", wrong):
        status, text = await ask(run, "GET", "/v1/host", bad)
        assert status == 401
        run.see("a wrong token", text)
        status, text = await ask(
            run, "POST", "/v1/agent/enroll", None, {"token": bad, "host_id": "x", "csr": "y"}
        )
        assert status in (400, 401, 403, 422), text
        run.see("a wrong join token", text)
    status, text = await ask(run, "GET", "/v1/token", "viewer")
    assert status == 403
    run.see("not allowed", text)


async def ask(
    run: Run, method: str, path: str, token: str | None, body: object = None
) -> tuple[int, str]:
    """One request by a role's token, or with this very text for one."""
    headers = {"Authorization": f"Bearer {run.texts.get(token, token)}"} if token else {}
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, run.system.coordinator.url + path, json=body, headers=headers, ssl=False
        ) as answer,
    ):
        return answer.status, await answer.text()


async def ask_every_route(run: Run) -> None:
    """Each route that is asked by GET, by each role: what the answers tell."""
    ids = {
        "{deploy_id}": "deploy-3",
        "{service}": "user-service",
        "{instance_id}": "instance-1",
        "{rollback_id}": "none",
    }
    for role in ("viewer", "deployer", "admin"):
        token = role if role in run.texts else run.system.coordinator.token
        for route in ROUTES:
            path = route.path
            for name, value in ids.items():
                path = path.replace(name, value)
            if route.method != "GET" or path in ("/v1/events", "/v1/agent/connect"):
                continue
            _, text = await ask(run, "GET", path, token)
            run.see(f"GET {route.path} by {role}", text)
