"""What the tests of the package path share: a package, and what is looked at after a fetch."""

from __future__ import annotations

import random

import pytest

from agent.download import PackageSource
from agent.fetch import fetch_release
from agent.ports import StepError
from agent.releases import Releases
from tests.parts.packages import Content, Link, tar_gz

SECRET = "?signature=s3cret"
FILES: dict[str, Content] = {
    "bin/server": (b"#!/bin/sh\n", 0o755),
    "lib/data": random.Random(1).randbytes(1_000_000),
    "run": Link("bin/server"),
}
PACKAGE = tar_gz(FILES)


def on_disk(releases: Releases) -> list[str]:
    folder = releases.current_link.parent / "releases"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


class Telling:
    """Keeps what `on_progress` was told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int | None]] = []

    def __call__(self, done: int, total: int | None) -> None:
        self.told.append((done, total))

    @property
    def done(self) -> int:
        return self.told[-1][0] if self.told else 0


async def failure(
    source: PackageSource, releases: Releases, url: str, digest: str = ""
) -> StepError:
    """Fetch and fail; nothing may be left, and no message may tell the query."""
    with pytest.raises(StepError) as raised:
        await fetch_release(source, releases, version="v1", url=url + SECRET, digest=digest)
    assert on_disk(releases) == []
    assert "s3cret" not in raised.value.message
    assert "signature=" not in raised.value.message
    assert raised.value.__cause__ is None
    return raised.value
