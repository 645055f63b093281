"""Marked secrets, and the search for where they got to.

A canary is a secret that nobody else could have made up. What is searched is given as pairs
of a place and its bytes; a secret counts as found in any usual way of writing it down.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import sqlite3
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

Finding = tuple[str, str]
"""Where, and which secret."""


class Canaries:
    """Secrets by name; only those that are at least 12 characters tell anything."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self._written = {name: written(secret) for name, secret in secrets.items()}
        assert all(len(secret) >= 12 for secret in secrets.values()), "too short to be a canary"

    def found(self, places: Iterable[tuple[str, bytes]]) -> set[Finding]:
        """Where which secret stands."""
        return {
            (place, name)
            for place, data in places
            for name, ways in self._written.items()
            if any(way in data for way in ways)
        }


def written(secret: str) -> set[bytes]:
    """The usual ways to write a secret down."""
    plain = secret.encode()
    ways = {plain, quote(secret, safe="").encode(), plain.hex().encode(), base64.b64encode(plain)}
    # In base64 of something longer it may begin at any of three places.
    for before in (1, 2):
        ways.add(base64.b64encode(b"x" * before + plain)[4:-4])
    return ways


def private_part(pem: str) -> str:
    """A line of a private key that is in no other."""
    key = re.search(r"PRIVATE KEY-----\n(.*?)-----END", pem, re.DOTALL)
    assert key
    return key[1].split()[1][:40]


def token_part(token: str) -> str:
    """What of a token or a join token is secret."""
    return token.strip()[-40:]


def rows_of(database: Path) -> Iterator[tuple[str, bytes]]:
    """Each column of each row; the place is `table.column`."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                for column in row.keys():  # noqa: SIM118 - a Row has no other way
                    value = row[column]
                    yield (
                        f"{table}.{column}",
                        value if isinstance(value, bytes) else str(value).encode(),
                    )


def open_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Each file that others than its owner may read."""
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode) and mode & 0o044:
                yield f"{path.relative_to(folder)} ({mode & 0o777:o})", path.read_bytes()


def environments(pids: Iterable[int]) -> Iterator[tuple[str, bytes]]:
    """The environments of processes."""
    for pid in pids:
        with contextlib.suppress(OSError):
            yield f"environ of {pid}", Path(f"/proc/{pid}/environ").read_bytes()


class ProcessWatch:
    """While it is open, looks at the arguments of all processes, again and again."""

    def __init__(self) -> None:
        self._seen: dict[bytes, str] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def seen(self) -> list[tuple[str, bytes]]:
        """The arguments of each process that was seen."""
        return [(f"arguments of {place}", data) for data, place in self._seen.copy().items()]

    def _watch(self) -> None:
        while not self._over.wait(0.005):
            for pid in filter(str.isdigit, os.listdir("/proc")):
                with contextlib.suppress(OSError):
                    arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
                    self._seen.setdefault(
                        arguments, arguments.split(b"\0")[0].decode(errors="replace")
                    )
