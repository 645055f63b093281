"""The pinned versions on a host's disk: whole after a crash, and sparing while nobody knows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.download import PackageSource
from agent.pins import Pins
from protocol.messages import PinnedVersion
from protocol.messages import Pins as PinsFrame
from tests.parts.one_worker import OneWorker
from tests.parts.package_server import PackageServer
from tests.parts.waiting import until


def told(*versions: str, service: str = "user-service") -> PinsFrame:
    return PinsFrame(pins=[PinnedVersion(service=service, version=one) for one in versions])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pins.json"


def test_what_was_told_holds_after_a_start(file: Path) -> None:
    Pins.open(file).keep(told("v1", "v2"))
    pins = Pins.open(file)
    assert [pins.holds("user-service", version) for version in ("v1", "v2", "v3")] == [
        True,
        True,
        False,
    ]
    assert not pins.holds("another", "v1")
    pins.keep(told("v2"))
    assert not Pins.open(file).holds("user-service", "v1"), "it is the whole set that is told"


def test_where_nothing_was_ever_pinned_there_is_no_file(file: Path) -> None:
    Pins.open(file).keep(told())
    assert not file.exists()


def test_the_draft_of_a_crash_is_removed_and_the_old_set_holds(file: Path) -> None:
    Pins.open(file).keep(told("v1"))
    draft = file.with_name(".pins.json.0a1b2c3d.tmp")
    draft.write_text('{"format": 1, "pins": [["user-ser')
    assert Pins.open(file).holds("user-service", "v1")
    assert os.listdir(file.parent) == [file.name]


@pytest.mark.parametrize("content", ["", "[]", '{"pins": [["a"]]}', '{"pins": 7}', "\0\0"])
def test_a_file_that_cannot_be_read_spares_everything_until_it_is_told_anew(
    file: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text(content)
    pins = Pins.open(file)
    assert pins.holds("user-service", "v1")
    assert "all releases are kept" in caplog.text
    pins.keep(told())
    assert not pins.holds("user-service", "v1")
    assert not Pins.open(file).holds("user-service", "v1")


def test_what_the_disk_does_not_take_holds_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pins = Pins(tmp_path / "no-such-folder" / "pins.json")
    pins.keep(told("v1"))
    assert pins.holds("user-service", "v1")
    assert "can't be written: No such file or directory" in caplog.text


async def test_of_a_pinned_version_the_newest_healthy_release_is_kept(tmp_path: Path) -> None:
    pins = Pins()
    pins.keep(told("v1"))
    async with (
        PackageServer(tmp_path) as packages,
        PackageSource(packages.ca_file) as source,
    ):
        one = OneWorker(tmp_path, packages, source, pins=pins)
        for number, version in enumerate(("v1", "v2", "v3", "v4"), 1):
            await one.install(f"deploy-{number}", version)
        await until(one.on_disk, lambda seen: seen == {"v1", "v3", "v4"})
        pins.keep(told())
        await one.install("deploy-5", "v2")
        await until(one.on_disk, lambda seen: seen == {"v2", "v4"})
        await one.worker.stop()
