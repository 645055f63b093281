"""The story of the demo, chapter by chapter; every sentence that says `ok` was checked."""

from __future__ import annotations

from collections import Counter

from tests.demo.command import Shell
from tests.demo.fleet import INSTANCES, Fleet
from tests.demo.packages import SERVICE
from tests.demo.telling import Teller
from tests.demo.traffic import Traffic
from tests.parts.steady_client import FAILED

TASK_FAILED = 5


async def tell(fleet: Fleet, teller: Teller, *, by_address: bool) -> None:
    """Show everything; raises `ClaimError` at the first claim that does not hold."""
    await start(fleet, teller, by_address=by_address)
    shell = Shell(fleet, teller)
    await first_version(fleet, teller, shell)
    async with Traffic(fleet.url(name) for name in INSTANCES) as traffic:
        await next_version(fleet, teller, shell, traffic)
        await broken_version(fleet, teller, shell, traffic)
        await back_from_disk(fleet, teller, shell, traffic)
    teller.chapter("Where it stands now")
    await shell.show("versions", SERVICE)
    await shell.show("history", INSTANCES[0])


async def start(fleet: Fleet, teller: Teller, *, by_address: bool) -> None:
    teller.chapter("A coordinator, a package server, three agents")
    await fleet.start_servers()
    teller.claim(True, "a coordinator and an HTTPS package server started from an empty folder")
    why = "you asked for that" if by_address else await fleet.why_no_mdns()
    await fleet.start_agents(by_address=bool(why))
    if why:
        teller.say(f"no mDNS: {why}")
        teller.claim(True, "three agents joined, told the coordinator's address: no mDNS")
    else:
        teller.claim(True, "three agents found the coordinator by mDNS and joined")


async def first_version(fleet: Fleet, teller: Teller, shell: Shell) -> None:
    teller.chapter("v1, the first installation")
    code = await _deploy(fleet, shell, "v1")
    await _claim_done(fleet, teller, code, "v1", "v1 is deployed")


async def next_version(fleet: Fleet, teller: Teller, shell: Shell, traffic: Traffic) -> None:
    teller.chapter("v2, while a client sends requests to all instances")
    code = await _deploy(fleet, shell, "v2")
    await _claim_done(fleet, teller, code, "v2", "v2 is deployed")
    counted = _tell_traffic(teller, traffic)
    seen = counted["v1"] > 0 and counted["v2"] > 0
    teller.claim(seen, "the client was answered by v1 before the switch and by v2 after it")


async def broken_version(fleet: Fleet, teller: Teller, shell: Shell, traffic: Traffic) -> None:
    teller.chapter("v3, whose health check fails")
    code = await _deploy(fleet, shell, "v3", "--retry-count", "0")
    teller.claim(code == TASK_FAILED, "the deployment failed: exit code 5, and the cause", code)
    parts = (await fleet.outcome("demo-v3")).instances
    told = [(part.current_version, part.error_message) for part in parts]
    put_back = all(
        version == "v2" and "answered 500" in why and "v2 was put back" in why
        for version, why in told
    )
    teller.claim(put_back, "every instance went back to v2 by itself and says why", told)
    serving = await fleet.serving()
    teller.claim(serving == _all("v2"), "all three services answer v2 again", serving)
    if _tell_traffic(teller, traffic)["v3"]:
        teller.say("v3 answered while it was being checked")


async def back_from_disk(fleet: Fleet, teller: Teller, shell: Shell, traffic: Traffic) -> None:
    teller.chapter("Back to v1 from disk, the package server stopped")
    await fleet.packages.stop()
    teller.claim(not await fleet.package_server_answers(), "the package server is stopped")
    code = await shell.show("rollback", SERVICE, "v1", "--all", "--wait")
    await _claim_done(fleet, teller, code, "v1", "v1 is back, from the hosts' own disks")
    _tell_traffic(teller, traffic)


async def _deploy(fleet: Fleet, shell: Shell, version: str, *options: str) -> int:
    source = ("--package-url", fleet.packages.url(version))
    task = ("--id", f"demo-{version}")
    return await shell.show("deploy", SERVICE, version, *source, "--all", *task, *options, "--wait")


async def _claim_done(fleet: Fleet, teller: Teller, code: int, version: str, text: str) -> None:
    """Exit code 0, and the services themselves, asked over HTTP, answer this version."""
    serving = await fleet.serving()
    teller.claim(
        code == 0 and serving == _all(version),
        f"{text}: exit code 0, and all three services answer {version}",
        f"exit code {code}, answers {serving}",
    )


def _all(version: str) -> list[str]:
    return [version] * len(INSTANCES)


def _tell_traffic(teller: Teller, traffic: Traffic) -> Counter[str]:
    """Say what the client saw since the last time, the failures included."""
    counted = traffic.since_last()
    by = ", ".join(f"{counted[name]} by {name}" for name in sorted(counted) if name != FAILED)
    teller.say(f"{counted.total()} requests: answered {by}; {counted[FAILED]} without an answer")
    if counted[FAILED]:
        teller.say(
            "those were refused or reset while an instance was between its stop and its start:"
            f" {traffic.longest_silence():.1f} s at the longest"
        )
    return counted
