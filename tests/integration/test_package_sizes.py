"""How large packages are is learnt from what agents tell, and from nothing else."""

from __future__ import annotations

from typing import Any

from coordinator.core.task import Target
from coordinator.package_sizes import KEPT, PackageSize, PackageSizes
from protocol.messages import Progress, Step

URL = "https://packages.example.com/v1.tar.gz"
DIGEST = "ab" * 32


def told(**fields: Any) -> Progress:
    return Progress(task_id="d-1", instance_id="a", attempt=1, step=Step.PREPARE, **fields)


def test_what_nobody_told_is_not_known() -> None:
    sizes = PackageSizes()
    sizes.learn(Target("v1", URL), told(bytes_done=7))
    assert sizes.of(URL, "") == PackageSize(None, None)


def test_both_sizes_are_known_by_url_and_by_digest() -> None:
    sizes = PackageSizes()
    sizes.learn(Target("v1", URL), told(bytes_total=100))
    assert sizes.of(URL, DIGEST) == PackageSize(100, None)
    sizes.learn(Target("v1", URL, DIGEST), told(release_bytes=300))
    assert sizes.of(URL, "") == PackageSize(100, 300)
    assert sizes.of("https://elsewhere.example.com/v1.tar.gz", "") == PackageSize()


def test_the_newest_are_kept() -> None:
    sizes = PackageSizes()
    for number in range(KEPT + 1):
        sizes.learn(Target("v1", f"{URL}?{number}"), told(bytes_total=number))
    assert sizes.of(f"{URL}?0", "") == PackageSize()
    assert sizes.of(f"{URL}?{KEPT}", "").package == KEPT
