"""Commands of the lab's own machine, with their complaint in the error."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass


class LabError(Exception):
    """Something that a test counted on did not work; the text holds what was said."""


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    status: int
    output: str
    error: str


async def call(
    *argv: str,
    check: bool = True,
    timeout: float = 60,
    environment: Mapping[str, str] | None = None,
) -> Result:
    """Run a command to its end. Raises `LabError` if it fails (unless not `check`) or hangs."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        async with asyncio.timeout(timeout):
            output, error = await process.communicate()
    except TimeoutError:
        raise LabError(f"{' '.join(argv)}: not done within {timeout:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    result = Result(process.returncode or 0, output.decode(), error.decode())
    if check and result.status:
        raise LabError(f"{' '.join(argv)}: status {result.status}\n{result.output}{result.error}")
    return result
