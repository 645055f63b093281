"""Signatures through the whole system, made by the real `minisign` as the documentation says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psutil

from protocol.states import TaskState
from tests.e2e.conftest import System
from tests.lab.needs import need_programs


def run(folder: Path, *argv: str) -> None:
    subprocess.run(argv, cwd=folder, check=True, capture_output=True, stdin=subprocess.DEVNULL)


async def test_only_what_minisign_signed_for_this_version_is_deployed(
    system: System, tmp_path: Path
) -> None:
    need_programs("minisign")
    run(tmp_path, "minisign", "-GW", "-p", "key.pub", "-s", "key.sec")
    key = (tmp_path / "key.pub").read_text().splitlines()[1]
    agent = await system.agent("host-a", "instance-1", packages={"trusted_keys": [key]})

    def put_signed(version: str, comment: str) -> str:
        name = f"user-service-{version}.tar.gz"
        (tmp_path / name).write_bytes(system.package(version))
        run(tmp_path, "minisign", "-S", "-s", "key.sec", "-m", name, "-t", comment)
        beside = f"{name}.minisig"
        system.packages.put(beside, (tmp_path / beside).read_bytes())
        return system.put(version)

    url = put_signed("v1", "service=user-service version=v1")
    deployed = await system.deployed("v1", ["instance-1"], url=url)
    assert deployed.status is TaskState.COMPLETED, deployed
    serving = agent.service_pids("instance-1")

    put_signed("v2", "service=user-service version=v1")
    for version, reason in (
        ("v2", "the signature is for the version 'v1', not v2"),
        ("v3", f"no signature: {system.put('v3')}.minisig: the server answered 404"),
    ):
        failed = await system.deployed(version, ["instance-1"], url=system.put(version))
        assert failed.status is TaskState.FAILED
        (part,) = failed.instances
        assert part.error_message == reason
        assert agent.service_pids("instance-1") == serving
        assert agent.versions_on_disk("instance-1") == {"v1"}

    mapped = {Path(one.path).name for one in psutil.Process(agent.pid).memory_maps()}
    assert any(name.startswith("libc.so") for name in mapped)
    assert "_rust.abi3.so" not in mapped, "the library of cryptography stays out of the agent"
