"""Marked secrets go through everything that there is, and turn up nowhere.

One long run: joining by a token and by approval, deploying, upgrading, a release that prints its
environment and fails, signed packages, rolling back, cancelling, refusals, a rotation of the
authority with new keys for all, revoking, a backup and its restoring, checks, every command in
both outputs, crashes of both daemons, both ways to log. What others can see is gathered on the
way and searched at the end. A control plants each secret in each kind of place, and all of
them are caught. The parts are in tests/e2e/canary.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from coordinator.permissions import COMMANDS
from protocol.access import TokenParams
from tests.e2e.canary.asking import ask_every_route, be_refused, followed_events, make_tokens
from tests.e2e.canary.commands import ARGUMENTS, ask_by_all_commands
from tests.e2e.canary.deploying import deploy_in_every_way
from tests.e2e.canary.fleet import (
    come_in_by_approval,
    crash_and_come_back,
    rotate_the_authority,
    turn_out,
)
from tests.e2e.canary.planted import Run, planted
from tests.e2e.canary.searched import EXPECTED, everything_was_seen, found, other_processes
from tests.e2e.conftest import System
from tests.parts.canary import ProcessWatch, environments
from tests.parts.waiting import until


@pytest.fixture
async def run(system: System) -> AsyncIterator[Run]:
    async with AsyncExitStack() as stack:
        yield await planted(system, stack)


def test_every_command_is_given_arguments_here() -> None:
    assert set(ARGUMENTS) == set(COMMANDS)
    assert all(ARGUMENTS.values())


@pytest.mark.sweep
@pytest.mark.timeout(400)
async def test_marked_secrets_are_found_nowhere(run: Run) -> None:
    with ProcessWatch() as watch:
        async with followed_events(run):
            await make_tokens(run)
            await deploy_in_every_way(run)
            await be_refused(run)
            await come_in_by_approval(run)
            await rotate_the_authority(run)
            await crash_and_come_back(run)
            run.seen += environments(other_processes(run))
            await turn_out(run)
            await ask_by_all_commands(run)
            await ask_every_route(run)
    run.seen += watch.seen()
    assert everything_was_seen(run)
    assert found(run) == EXPECTED


@pytest.mark.sweep
async def test_a_secret_that_is_planted_is_caught_wherever_it_is(run: Run) -> None:
    everything = " ".join(run.secrets.values())
    with ProcessWatch() as watch:
        for daemon in (run.system.coordinator, run.agent):
            with daemon.log.open("a") as log:
                log.write(f"INFO test: {everything}\n")
        (run.system.folder / "open").write_text(f"it is {everything}")
        shut = run.system.folder / "shut"
        shut.write_text(f"it is {everything}")
        shut.chmod(0o600)
        for secret in run.secrets.values():
            await run.system.client.create_token(TokenParams(role="viewer", name=f"of {secret}"))
        sleeper = subprocess.Popen(  # noqa: ASYNC220 - it only has to be there
            [sys.executable, "-c", "input()", *run.secrets.values()],
            stdin=subprocess.PIPE,
            env={"SECRETS": everything},
        )
        last = [*run.secrets.values()][-1].encode()
        await until(lambda: any(last in arguments for _, arguments in watch.seen()))
    run.seen += [*watch.seen(), *environments([sleeper.pid])]
    sleeper.communicate()
    await ask_every_route(run)
    caught = found(run)
    for name in run.secrets:
        places = {place for place, known in caught if known == name}
        for expected in (
            "coordinator's log",
            "host-a's log",
            "open (644)",
            "tokens.name",
            f"arguments of {sys.executable}",
            f"environ of {sleeper.pid}",
            "GET /v1/token",
        ):
            assert any(place.startswith(expected) for place in places), (name, expected, places)
        assert not [place for place in places if place.startswith("shut")]
