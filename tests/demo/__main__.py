"""`python -m tests.demo`: runs the demo, keeps it, or stops a kept one.

Exits with 0 if everything that was shown held, 1 if not, 130 if interrupted. Whatever
happens, nothing is left running, unless it was to be kept and all went well.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.demo.fleet import Fleet
from tests.demo.keeping import MARK, leave_directions, stop_kept
from tests.demo.story import tell
from tests.demo.telling import ClaimError, Teller
from tests.demo.traces import daemons_of, end_everything, services_of

TOLD_WITHIN = 300.0
INTERRUPTED = 130


def main() -> int:
    """Do what the arguments say and return the exit code."""
    options = _arguments()
    if options.stop is not None:
        try:
            print(asyncio.run(stop_kept(options.stop.resolve())))
        except ValueError as problem:
            return _fail(str(problem))
        return 0
    folder = Path(tempfile.mkdtemp(prefix="ferryman-demo-")).resolve()
    (folder / MARK).touch()
    return asyncio.run(_demo(folder, keep=options.keep, by_address=options.by_address))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.demo", description="Ferryman's main job on real processes."
    )
    parser.add_argument("--keep", action="store_true", help="leave the fleet up at the end")
    parser.add_argument("--by-address", action="store_true", help="do without mDNS")
    parser.add_argument("--stop", type=Path, metavar="FOLDER", help="end a fleet that was kept")
    return parser.parse_args()


async def _demo(folder: Path, *, keep: bool, by_address: bool) -> int:
    teller = Teller()
    teller.say(f"Ferryman's demo. All it writes is in {folder}.")
    fleet = Fleet(folder)
    told = asyncio.create_task(_tell(fleet, teller, keep=keep, by_address=by_address))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, _cancel_once, told)
    await asyncio.wait([told])
    code = _code_of(told)
    if keep and code == 0:
        teller.proofs()
        print(leave_directions(fleet), flush=True)
        # The event loop's end would end its subprocesses, too.
        os._exit(0)
    return await _clean_up(fleet, teller, code)


async def _tell(fleet: Fleet, teller: Teller, *, keep: bool, by_address: bool) -> None:
    async with asyncio.timeout(TOLD_WITHIN):
        await tell(fleet, teller, by_address=by_address)
        if keep:
            await fleet.packages.start()


def _cancel_once(told: asyncio.Task[None]) -> None:
    """A second Ctrl-C must not cut the tidying short."""
    if not told.cancelling():
        told.cancel()


def _code_of(told: asyncio.Task[None]) -> int:
    if told.cancelled():
        _fail("interrupted; ending everything")
        return INTERRUPTED
    error = told.exception()
    if isinstance(error, ClaimError | AssertionError | TimeoutError | OSError):
        return _fail(str(error) or type(error).__name__)
    if error is not None:
        sys.excepthook(type(error), error, error.__traceback__)
        return _fail(f"unexpected: {error}")
    return 0


async def _clean_up(fleet: Fleet, teller: Teller, code: int) -> int:
    teller.chapter("The end")
    stubborn = await end_everything(fleet.folder)
    await asyncio.gather(*(daemon.stop() for daemon in fleet.daemons))
    left = [*daemons_of(fleet.folder).values(), *services_of(fleet.folder).values()]
    try:
        teller.claim(not stubborn, "every daemon ended when it was told to", "; ".join(stubborn))
        teller.claim(not left, "no process of the demo is left", "; ".join(left))
    except ClaimError as error:
        code = _fail(str(error))
    if code in (0, INTERRUPTED):
        shutil.rmtree(fleet.folder)
    else:
        _fail(f"the logs are in {fleet.folder}")
    if code == 0:
        teller.proofs()
    return code


def _fail(problem: str) -> int:
    print(f"demo: {problem}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
