"""From where an instance would get exactly what it runs again, once something else does."""

from __future__ import annotations

from dataclasses import replace

from coordinator.core.task import Target
from coordinator.ports import Retained
from coordinator.rollbacks import has_release, way_back
from tests.contract.rows import instance

URL = "https://packages.example.com/v1.tar.gz"
DIGEST, OTHER = "cd" * 32, "ef" * 32
V1 = Target("v1", URL, DIGEST)
"""What `instance` runs and retains."""


def test_from_its_own_disk_first() -> None:
    back = way_back(instance(), V1)
    assert back.kept is not None
    assert (back.kept.digest, back.problem) == (DIGEST, "")


def test_else_from_the_url_of_its_last_successful_task() -> None:
    back = way_back(instance(retained=()), V1)
    assert (back.kept, back.problem) == (None, "v1 is not on the host's disk")
    assert back.source is not None
    assert (back.source.package_url, back.source.digest) == (URL, DIGEST)


def test_a_damaged_release_is_no_way_back() -> None:
    back = way_back(instance(retained=(Retained("v1", DIGEST, damaged="bin/server"),)), V1)
    assert back.kept is None
    assert "bin/server" in back.problem


def test_another_package_of_that_version_is_no_way_back() -> None:
    other = instance(retained=(Retained("v1", OTHER),))
    assert not way_back(other, replace(V1, package_url=""))


def test_only_the_very_release_need_not_be_fetched() -> None:
    row = instance(retained=(Retained("v1", DIGEST),), fetched=(Retained("v2", OTHER),))
    assert has_release(row, "v1", DIGEST)
    assert has_release(row, "v2", OTHER)
    assert not has_release(row, "v2", DIGEST)
    assert not has_release(row, "v1", "")
