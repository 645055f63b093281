"""How large packages are, as agents told while they fetched them. In memory: a start forgets it.

The coordinator itself never fetches a package. Sizes are known by the whole URL, and by the
digest once a task has one; for what nobody has fetched yet they are not known.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from coordinator.core.task import Target
from protocol.messages import Progress

KEPT = 1000
"""URLs and digests, the newest."""


@dataclass(frozen=True, slots=True)
class PackageSize:
    """Bytes; None for what no agent told."""

    package: int | None = None
    """Of the package, as it is fetched."""
    unpacked: int | None = None
    """Of the files that it unpacks to."""


class PackageSizes:
    """Learns from progress, and answers for a URL or a digest."""

    def __init__(self) -> None:
        self._known: dict[str, PackageSize] = {}

    def learn(self, target: Target, told: Progress) -> None:
        """Take in what an agent told while it brought `target` to its disk."""
        if told.bytes_total is None and told.release_bytes is None:
            return
        for key in filter(None, (target.package_url, target.digest)):
            size = self._known.pop(key, PackageSize())
            if told.bytes_total is not None:
                size = replace(size, package=told.bytes_total)
            if told.release_bytes is not None:
                size = replace(size, unpacked=told.release_bytes)
            self._known[key] = size
        while len(self._known) > KEPT:
            del self._known[next(iter(self._known))]

    def of(self, package_url: str, digest: str) -> PackageSize:
        """The size of what is at the URL, which has this digest unless that is ""."""
        return self._known.get(digest) or self._known.get(package_url) or PackageSize()
