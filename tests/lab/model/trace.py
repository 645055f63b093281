"""Traces: what happens, drawn by hypothesis, and carried out in a world of virtual time.

A trace is two values: the happenings, which hypothesis can shrink, and a seed for the small
things (how long a hand takes, which frame is lost). The same two give the same trace again.
With an even seed v1 is installed everywhere before; otherwise the hosts are empty.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tests.lab.model.process import keep_owners
from tests.lab.model.world import HOSTS, INSTANCES, World
from tests.parts.virtual_time import VirtualLoop

Happening = tuple[float, str, tuple[Any, ...]]
"""Seconds to wait first, the name of a method of `World`, its arguments."""

VERSIONS = st.sampled_from(["v1", "v2", "v3"])
MASKS = st.integers(1, 2 ** len(INSTANCES) - 1)
HOST = st.integers(0, len(HOSTS) - 1)
INSTANCE = st.integers(0, len(INSTANCES) - 1)
CHANCE = st.sampled_from([0.0, 0.0, 0.1, 0.4])
PAUSES = st.sampled_from([0.0, 0.02, 0.1, 0.3, 0.5, 1.0, 3.0, 20.0])

HAPPENINGS: dict[str, Sequence[st.SearchStrategy[Any]]] = {
    "deploy": (MASKS, VERSIONS, st.sampled_from([60, 15, 3]), st.integers(0, 2)),
    "repeat": (st.integers(0, 3),),
    "roll_back": (INSTANCE, VERSIONS, st.sampled_from([30, 3]), st.booleans()),
    "roll_all_back": (MASKS, VERSIONS, st.booleans()),
    "cancel": (st.integers(0, 2),),
    "weather": (CHANCE, CHANCE, CHANCE, st.sampled_from([0.01, 0.3, 1.5])),
    "break_connection": (HOST,),
    "cut_off": (HOST,),
    "kill_agent": (HOST,),
    "kill_agent_at_save": (HOST, st.integers(-4, 4)),
    "reboot": (HOST,),
    "kill_coordinator": (),
    "kill_coordinator_before_commit": (),
    "kill_coordinator_after_commit": (),
    "fill_disk": (),
    "starts_fail": (INSTANCE, st.integers(1, 2)),
    "stop_fails": (INSTANCE,),
    "probes_fail": (INSTANCE, st.integers(1, 2)),
    "download_fails": (INSTANCE, st.booleans()),
    "dies": (INSTANCE,),
    "change_content": (VERSIONS,),
}
OFTEN = ["deploy"] * 6 + ["roll_back"] * 2 + ["cancel", "weather", "weather"]
"""What is drawn more often than the rest."""


def _one_happening(name: str) -> st.SearchStrategy[Happening]:
    return st.tuples(PAUSES, st.just(name), st.tuples(*HAPPENINGS[name]))


happenings = st.one_of([_one_happening(name) for name in [*HAPPENINGS, *OFTEN]])
traces = st.lists(happenings, min_size=2, max_size=14)
seeds = st.integers(0, 2**32 - 1)


def run_trace(trace: Sequence[Happening], seed: int, **variants: Any) -> None:
    """Let it all happen, then settle and compare. Raises `Violation`."""
    folder = Path(tempfile.mkdtemp(prefix="ferryman-model-", dir=_fast_folder()))
    try:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            world = World(folder, seed, **variants)
            runner.run(_carry_out(trace, world, installed=seed % 2 == 0))
    finally:
        shutil.rmtree(folder)


async def _carry_out(trace: Sequence[Happening], world: World, *, installed: bool) -> None:
    await world.begin()
    if installed:
        await world.deployed("v1")
    for pause, name, arguments in trace:
        await asyncio.sleep(pause)
        happen: Callable[..., None] = getattr(world, name)
        happen(*arguments)
    await world.settle()


def _new_loop() -> asyncio.AbstractEventLoop:
    loop = VirtualLoop()
    keep_owners(loop)
    return loop


def _fast_folder() -> str | None:
    """A folder in memory, where an fsync costs nothing."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
