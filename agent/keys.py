"""The agent's keys are made by `agent.csr`, in a process that then ends.

The library for it costs memory, which the agent does without.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path

from agent.identity import EnrollError

_REQUEST = "-----BEGIN CERTIFICATE REQUEST-----"


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that is in no file yet, and a certificate request for it, both in PEM."""

    key: str = field(repr=False)
    request: str

    @classmethod
    def of(cls, said: str) -> NewKey:
        """Read what `agent.csr` printed; raises `EnrollError`."""
        key, begin, rest = said.partition(_REQUEST)
        if "PRIVATE KEY-----" not in key or not begin:
            raise EnrollError("the key can't be made: no reason given")
        return cls(key, begin + rest)


async def key_and_request(key_file: Path, host_id: str) -> str:
    """Make the key in `key_file` (if there is none) and return a certificate request, PEM.

    Raises `EnrollError`.
    """
    return await _run(str(key_file), host_id)


async def fingerprint_of_key(key_file: Path) -> str:
    """SHA-256 (hex) of the public part of the key in a file. Raises `EnrollError`."""
    return (await _run("--fingerprint", str(key_file))).strip()


async def new_key(host_id: str) -> NewKey:
    """Make a key that goes into no file, and a certificate request. Raises `EnrollError`."""
    return NewKey.of(await _run("-", host_id))


async def _run(*arguments: str) -> str:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "agent.csr",
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, said = await child.communicate()
    except asyncio.CancelledError:
        child.kill()
        await child.wait()
        raise
    if child.returncode != 0:
        last = said.decode("utf-8", "replace").strip().splitlines()[-1:] or ["no reason given"]
        raise EnrollError(f"the key can't be made: {last[0]}")
    return out.decode("ascii")
