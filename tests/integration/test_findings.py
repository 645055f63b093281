"""What is known of a release on disk: its last proof, its damage, and that both survive."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.core.age import Moment
from agent.findings import MAX_DAMAGED, Finding
from agent.ports import StepError
from agent.releases import Release, Releases
from tests.integration.test_releases import install


@dataclass
class Clock:
    """A host's clocks, moved by hand."""

    seconds: float = 1000.0
    boot: str = "this-boot"

    def __call__(self) -> Moment:
        return Moment(self.boot, self.seconds, 1_700_000_000.0 + self.seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def releases(tmp_path: Path, clock: Clock) -> Releases:
    return Releases(tmp_path / "root", clock)


def finding(releases: Releases, release: Release) -> Finding | None:
    return releases.finding(release.version, release.digest)


def again(releases: Releases, clock: Clock) -> Releases:
    """The same folder after a restart of the agent."""
    return Releases(releases.current_link.parent, clock)


def damage(release: Release) -> None:
    (release.path / "lib" / "data").write_bytes(b"DATA")


def test_unpacking_is_a_proof(releases: Releases, clock: Clock) -> None:
    release = install(releases, "v1")
    assert finding(releases, release) == Finding(at=clock(), whole=clock())
    assert releases.finding("v2", release.digest) is None


def test_each_whole_look_is_a_new_proof_and_survives_a_restart(
    releases: Releases, clock: Clock
) -> None:
    release = install(releases, "v1")
    clock.seconds += 500
    releases.verify(release)
    proven = Finding(at=clock(), whole=clock())
    clock.seconds += 500
    assert finding(releases, release) == proven
    assert finding(again(releases, clock), release) == proven


def test_damage_is_known_until_the_release_is_made_anew(releases: Releases, clock: Clock) -> None:
    release = install(releases, "v1")
    unpacked = clock()
    damage(release)
    clock.seconds += 500
    with pytest.raises(StepError, match="lib/data has other content"):
        releases.verify(release)
    damaged = Finding(at=clock(), whole=unpacked, damaged="lib/data has other content")
    assert finding(releases, release) == damaged
    assert finding(again(releases, clock), release) == damaged
    assert release.path.is_dir(), "it is evidence, and its service may run"

    clock.seconds += 500
    install(releases, "v1")
    assert finding(releases, release) == Finding(at=clock(), whole=clock())


def test_a_damaged_manifest_is_damage(releases: Releases) -> None:
    release = install(releases, "v1")
    manifest = release.path.with_name(f".{release.path.name}.manifest")
    manifest.write_bytes(manifest.read_bytes().replace(b"lib/data", b"lib/Data"))
    with pytest.raises(StepError):
        releases.verify(release)
    found = finding(releases, release)
    assert found is not None
    assert "is damaged" in found.damaged or "is missing" in found.damaged


class StoppedError(Exception):
    """By the check."""


def stop_after(calls: int) -> Callable[[], None]:
    """A check that lets so many calls pass."""
    left = iter(range(calls))

    def check() -> None:
        if next(left, None) is None:
            raise StoppedError

    return check


def test_a_look_that_is_interrupted_finds_nothing(releases: Releases, clock: Clock) -> None:
    release = install(releases, "v1")
    before = finding(releases, release)
    damage(release)
    clock.seconds += 500
    for pieces in itertools.count():
        try:
            releases.verify(release, stop_after(pieces))
        except StoppedError:
            assert finding(releases, release) == before
        except StepError:
            break
    assert pieces > 3, "before each entry, in each file, and before the end"
    assert finding(releases, release) != before


def test_a_large_file_can_be_interrupted(releases: Releases) -> None:
    release = install(releases, "v1", {"large": b"x" * (5 * 1024 * 1024)})
    calls = 0

    def count() -> None:
        nonlocal calls
        calls += 1

    releases.verify(release, count)
    assert calls >= 5


def test_what_should_be_there_and_is_not_is_damage(releases: Releases, clock: Clock) -> None:
    release = install(releases, "v1")
    shutil.rmtree(release.path)
    releases.missed(release.version, release.digest)
    found = finding(releases, release)
    assert found is not None
    assert found.damaged == "it is no longer on disk"


def test_a_finding_goes_with_its_release(releases: Releases, clock: Clock) -> None:
    release = install(releases, "v1")
    releases.discard(release)
    assert finding(releases, release) is None
    assert finding(again(releases, clock), release) is None
    assert list(release.path.parent.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"at": 1, "whole": 2, "damaged": 3}'])
def test_a_file_that_cant_be_read_is_no_finding(
    releases: Releases, clock: Clock, content: bytes
) -> None:
    release = install(releases, "v1")
    file = release.path.with_name(f".{release.path.name}.proof")
    assert json.loads(file.read_bytes())["damaged"] == ""
    file.write_bytes(content)
    after = again(releases, clock)
    assert finding(after, release) is None
    after.verify(release)
    assert finding(again(releases, clock), release) == Finding(at=clock(), whole=clock())


def test_one_that_cant_be_written_is_known_all_the_same(releases: Releases, clock: Clock) -> None:
    release = install(releases, "v1")
    file = release.path.with_name(f".{release.path.name}.proof")
    file.unlink()
    file.mkdir()
    clock.seconds += 500
    releases.verify(release)
    assert finding(releases, release) == Finding(at=clock(), whole=clock())


def test_what_is_told_of_damage_is_short(releases: Releases) -> None:
    release = install(releases, "v1", {"d" * 200: b"data"})
    (release.path / ("d" * 200)).unlink()
    with pytest.raises(StepError):
        releases.verify(release)
    found = finding(releases, release)
    assert found is not None
    assert len(found.damaged) == MAX_DAMAGED
