"""What is done with packages: deploying, failing in every phase, going back, cancelling."""

from __future__ import annotations

import asyncio

from protocol.models import BatchRollbackParams
from protocol.states import Phase, TaskState
from tests.e2e.canary.planted import SECRETS, Run
from tests.parts.packages import tar_gz

TELLS_ALL = f"""\
#!/bin/sh
echo "starting with $PASSWORD"
env
echo "{"x" * 190}$PASSWORD" >&2
exit 3
"""


async def deploy_in_every_way(run: Run) -> None:
    """Deploy, upgrade, go elsewhere, fail in every phase, roll back, cancel."""
    system, both = run.system, ["instance-1", "instance-2"]
    for version in ("v1", "v2"):
        system.put(version)
        done = await system.deployed(version, both, url=run.signed(version))
        assert done.status is TaskState.COMPLETED, done

    system.packages.put(
        "user-service-v3.tar.gz", tar_gz({"bin/server": (TELLS_ALL.encode(), 0o755)})
    )
    failed = await system.deployed("v3", both, url=run.signed("v3"))
    (told,) = [part for part in failed.instances if part.instance_id == "instance-1"]
    assert "PASSWORD=$PASSWORD" in told.error_message, told
    run.see("a failed task", failed.model_dump_json())

    system.put("v4", healthy=False)
    run.see(
        "a sick one", (await system.deployed("v4", both, url=run.signed("v4"))).model_dump_json()
    )

    elsewhere = run.signed("v2", SECRETS["elsewhere"])
    system.packages.redirect("moved.tar.gz", elsewhere)
    system.packages.redirect("lost.tar.gz", elsewhere.replace("v2", "v404"))
    for number, name in enumerate(("moved", "lost", "missing")):
        url = f"{system.packages.url(f'{name}.tar.gz')}?sig={SECRETS['signature']}"
        ended = await system.deployed(f"v{5 + number}", ["instance-2"], url=url)
        run.see(f"{name} package", ended.model_dump_json())
    system.packages.put("rubbish.tar.gz", b"no archive")
    url = f"{system.packages.url('rubbish.tar.gz')}?sig={SECRETS['elsewhere']}"
    run.see("rubbish", (await system.deployed("v8", ["instance-2"], url=url)).model_dump_json())
    wrong = {"sha256": "0" * 64}
    ended = await system.deployed("v9", ["instance-2"], url=run.signed("v2"), **wrong)
    run.see("other bytes", ended.model_dump_json())

    params = BatchRollbackParams(
        service="user-service", target_version="v1", instances=both, package_url=run.signed("v1")
    )
    back = await system.client.rollback_batch(params)
    run.see("a rollback", (await system.rolled_back(back.rollback_id)).model_dump_json())
    await cancel_a_download(run)


async def cancel_a_download(run: Run) -> None:
    system, gate = run.system, asyncio.Event()
    system.put("v10", ballast=bytes(100_000))
    system.packages.slow("user-service-v10.tar.gz", chunk=100, gate=gate)
    task = await system.deploy("v10", ["instance-1"], url=run.signed("v10"))
    await system.reached(task, Phase.PREPARING)
    run.see("a cancel", (await system.client.cancel_deployment(task)).model_dump_json())
    gate.set()
    await system.ended(task)
