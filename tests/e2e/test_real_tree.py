"""A package of a real tree, thousands of files: deployed while the old version serves."""

from __future__ import annotations

import filecmp
import io
import os
import sysconfig
import tarfile
from pathlib import Path

import pytest

from agent.releases import Releases
from protocol.models import InstanceRollbackParams
from protocol.states import TaskState
from tests.e2e.conftest import System
from tests.parts.packages import zst
from tests.parts.service import service_package
from tests.parts.steady_client import FAILED
from tests.parts.waiting import until

TREE = Path(sysconfig.get_path("purelib"))


def files_of(tree: Path) -> list[Path]:
    """All files of a tree but compiled ones, which whoever imports them writes again."""
    return sorted(
        path.relative_to(tree)
        for path in tree.rglob("*")
        if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts
    )


@pytest.fixture(scope="session")
def real_package() -> bytes:
    """The environment's own site-packages under lib/, and the service."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as package:
        with tarfile.open(fileobj=io.BytesIO(service_package("v2"))) as service:
            for member in service:
                package.addfile(member, service.extractfile(member))
        for path in files_of(TREE):
            package.add(TREE / path, f"lib/{path}")
    return zst(out.getvalue())


@pytest.mark.sweep
async def test_thousands_of_files_deployed_verified_and_rolled_back_to(
    system: System, real_package: bytes
) -> None:
    agent = await system.agent("host-a", "instance-1")
    await system.deployed("v1", ["instance-1"])
    url = system.packages.put("v2.tar.zst", real_package)

    async with system.steady_client("instance-1") as client:
        task = await system.deploy("v2", ["instance-1"], url=url, timeout=100)
        ended = await system.ended(task)
        await until(lambda: client.answers[-1] == "v2")
    assert ended.status is TaskState.COMPLETED, ended
    switch = client.answers.index("v2")
    served = len(client.answers) - 1 - client.answers[::-1].index("v1")
    assert FAILED not in client.answers[:served], "v1 served until it was stopped"
    assert served < switch
    assert FAILED not in client.answers[switch:]

    release = Releases(agent.root("instance-1")).find("v2", ended.digest)
    assert release is not None
    Releases(agent.root("instance-1")).verify(release)
    expected = files_of(TREE)
    assert len(expected) > 2000
    _, other, unreadable = filecmp.cmpfiles(
        TREE, release.path / "lib", [os.fspath(path) for path in expected], shallow=False
    )
    assert (other, unreadable) == ([], [])
    assert files_of(release.path / "lib") == expected

    await system.deployed("v3", ["instance-1"])
    await system.packages.stop()
    back = await system.client.rollback_instance(
        InstanceRollbackParams(instance_id="instance-1", target_version="v2")
    )
    rolled = await system.rolled_back(back.rollback_id)
    assert rolled.status is TaskState.COMPLETED, rolled
    assert await system.serving("instance-1") == "v2"
