"""The releases folder of one instance: stage, publish, switch `current`, verify, prune.

    ROOT/current                                   a link to releases/NAME
    ROOT/releases/NAME/                            a release, NAME = VERSION-DIGEST12
    ROOT/releases/.NAME.manifest                   what NAME is verified against
    ROOT/releases/.NAME.proof                      what was found when it was last verified
    ROOT/releases/.staging-*  .replaced-NAME       what a crash may leave: `sweep` removes it

A release counts only together with its manifest, which is written before the release gets
its name and removed after it has lost it. Every change of a name is one rename, followed by
an fsync of the folder. Not safe for two writers at once: one assignment at a time uses it.
All methods block on the disk and raise `StepError`.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent import manifest
from agent.core.age import Moment
from agent.durable import make_folders, replace_link
from agent.findings import SUFFIX as _PROOF
from agent.findings import Finding, Findings
from agent.manifest import Entry, Header, ManifestError, Signed
from agent.moments import host_clock
from agent.ports import StepError
from agent.removal import remove_tree
from protocol.durable import sync_folder
from protocol.names import check_digest, check_version

_STAGING = ".staging-"
_REPLACED = ".replaced-"
_TEMPORARY_LINK = ".current-"
_MANIFEST = ".manifest"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Release:
    """One unpacked version of a package; `digest` is the package's SHA-256 in hex."""

    version: str
    digest: str
    path: Path
    signed: Signed | None = field(default=None, compare=False)
    """Who had signed the package, if that was asked for when it was taken in."""
    size: int | None = field(default=None, compare=False)
    """Bytes of its files, if it has been unpacked just now."""


class Releases:
    """The releases of one instance under `root`. Nothing is made until it is needed."""

    def __init__(self, root: Path, now: Callable[[], Moment] | None = None) -> None:
        """`now` is the clock that findings are dated by; this host's if it is left out."""
        self._root = root
        self._folder = root / "releases"
        self.now = now or host_clock()
        self._findings = Findings(self._folder, self.now)

    @property
    def current_link(self) -> Path:
        """The link that names the release to run; it may not exist."""
        return self._root / "current"

    def all(self) -> list[Release]:
        """Return all complete releases, in the order in which they were published."""
        return [release for _, release in sorted(self._numbered(), key=lambda pair: pair[0])]

    def current(self) -> Release | None:
        """Return the complete release that `current` names, None if there is none."""
        name = self._current_name()
        found = self._load(name) if name else None
        return found[1] if found else None

    def find(self, version: str, digest: str = "") -> Release | None:
        """Return the newest release of this version (and digest, if given). Verifies nothing."""
        for release in reversed(self.all()):
            if release.version == version and digest in ("", release.digest):
                return release
        return None

    def verify(self, release: Release, check: Callable[[], None] = lambda: None) -> None:
        """Read the whole release again and compare it with its manifest.

        Raises `StepError` naming the first file, folder or link that is missing or changed.
        Extra files are tolerated: services write caches and logs beside their code. `check`
        is called before each piece, and once more before what was found is kept as the
        release's finding; it may raise to stop early, and then nothing is kept.
        """
        name = release.path.name
        entries = manifest.load_entries(self._manifest(name))
        try:
            difference = manifest.compare(release.path, entries, check)
        except ManifestError as error:
            check()
            self._findings.keep(name, error.message)
            raise
        check()
        self._findings.keep(name, difference)
        if difference:
            raise StepError(f"the release {name} on disk is damaged: {difference}")

    def missed(self, version: str, digest: str) -> None:
        """Keep as its finding that a release, which should be there, is not on disk."""
        self._findings.keep(_name(version, digest), "it is no longer on disk")

    def finding(self, version: str, digest: str) -> Finding | None:
        """What was found when the release was last verified or unpacked; None: it never was."""
        return self._findings.of(_name(version, digest))

    def switch(self, release: Release | None) -> None:
        """Point `current` at a release in one durable step; None removes the link."""
        link = self.current_link
        with _naming("switch current"):
            if release is None:
                link.unlink(missing_ok=True)
                if self._root.is_dir():
                    sync_folder(self._root)
                return
            temporary = self._root / f"{_TEMPORARY_LINK}{secrets.token_hex(4)}"
            replace_link(link, f"releases/{release.path.name}", temporary)

    def discard(self, release: Release) -> None:
        """Remove a release and its manifest. The one that `current` names is refused."""
        if self._current_name() == release.path.name:
            raise StepError(f"the release {release.path.name} is the current one: not removed")
        with _naming(f"remove the release {release.path.name}"):
            rubbish = self._folder / f"{_STAGING}{secrets.token_hex(4)}"
            if release.path.is_dir():
                release.path.rename(rubbish)
                sync_folder(self._folder)
            self._manifest(release.path.name).unlink(missing_ok=True)
            self._findings.forget(release.path.name)
            _remove_tree(rubbish)
            sync_folder(self._folder)

    def prune(self, spared: Collection[Release]) -> list[str]:
        """Remove all releases but those in `spared` and the current one.

        Returns a warning for each one that could not be removed.
        """
        kept = {*spared, self.current()}
        warnings = []
        for release in self.all():
            if release not in kept:
                try:
                    self.discard(release)
                except StepError as error:
                    warnings.append(error.message)
        return warnings + self._remove_rubbish(_REPLACED)

    def sweep(self) -> None:
        """Remove what a crash left behind. Only while nothing is being staged.

        What can't be removed is logged and left.
        """
        warnings = self._put_replaced_back() + self._remove_rubbish(_STAGING, _REPLACED)
        for path in [*self._folder.glob("*"), *self._root.glob(f"{_TEMPORARY_LINK}*")]:
            if self._is_rubbish(path):
                warnings += _try_to_remove(path)
        for warning in warnings:
            _log.warning("%s", warning)

    @contextmanager
    def stage(self) -> Iterator[Staging]:
        """Give an empty folder to unpack into; it is removed at the end if not published."""
        path = self._folder / f"{_STAGING}{secrets.token_hex(8)}"
        with _naming("make a folder to unpack into"):
            make_folders(self._folder)
            path.mkdir()
            path.chmod(0o755)
        try:
            yield Staging(self, path)
        finally:
            for warning in _try_to_remove(path):
                _log.warning("%s", warning)

    def free_bytes(self) -> int:
        """Return how many bytes the disk of this instance has free."""
        with _naming("look at the free space"):
            there = next(path for path in (self._folder, *self._folder.parents) if path.is_dir())
            disk = os.statvfs(there)
        return disk.f_bavail * disk.f_frsize

    def publish(
        self,
        staged: Path,
        version: str,
        digest: str,
        entries: Collection[Entry],
        signed: Signed | None,
    ) -> Release:
        """Give a staged, durable tree its name; see `Staging.publish`."""
        name = _name(check_version(version), check_digest(digest))
        size = sum(entry.size for entry in entries)
        release = Release(version, digest, self._folder / name, signed, size)
        there = self._load(name)
        if there and there[1] != release:
            raise StepError(f"another package is there already as {name}")
        whole = there is not None and self._is_whole(release)
        if there and whole and signed in (None, there[1].signed):
            return replace(there[1], size=size)
        with _naming(f"publish the release {name}"):
            number = max((number for number, _ in self._numbered()), default=0) + 1
            header = Header(version, digest, there[0] if there else number, signed)
            manifest.save(self._manifest(name), header, entries)
            if whole:
                return release
            self._findings.forget(name)
            if release.path.exists():
                replaced = self._folder / f"{_REPLACED}{name}"
                _remove_tree(replaced)
                release.path.rename(replaced)
            staged.rename(release.path)
            sync_folder(self._folder)
        self._findings.keep(name, "")
        return release

    def _is_whole(self, release: Release) -> bool:
        try:
            self.verify(release)
        except StepError:
            return False
        return True

    def _current_name(self) -> str:
        """The name in releases/ that `current` leads to, whatever is there; "" for none."""
        try:
            target = Path(os.readlink(self.current_link))
        except OSError:
            return ""
        return target.name if target.parent == Path("releases") else ""

    def _manifest(self, name: str) -> Path:
        return self._folder / f".{name}{_MANIFEST}"

    def _numbered(self) -> Iterator[tuple[int, Release]]:
        for path in list(self._folder.glob(f".*{_MANIFEST}")):
            if found := self._load(path.name[1 : -len(_MANIFEST)]):
                yield found

    def _load(self, name: str) -> tuple[int, Release] | None:
        """A release and its number if both the release and a readable manifest are there."""
        path = self._folder / name
        if not path.is_dir() or path.is_symlink():
            return None
        try:
            header = manifest.load_header(self._manifest(name))
        except StepError:
            return None
        return header.number, Release(header.version, header.digest, path, header.signed)

    def _is_rubbish(self, path: Path) -> bool:
        if path.parent == self._root:
            return True
        name = path.name
        if name.startswith(".") and name.endswith(_MANIFEST):
            return not (self._folder / name[1 : -len(_MANIFEST)]).is_dir()
        if name.startswith(".") and name.endswith(_PROOF):
            return self._load(name[1 : -len(_PROOF)]) is None
        if name.startswith("."):
            return name.endswith(".tmp")
        return not self._manifest(name).exists() and name != self._current_name()

    def _put_replaced_back(self) -> list[str]:
        """A crash between the two renames of a replacement left a release without its name."""
        for replaced in list(self._folder.glob(f"{_REPLACED}*")):
            path = self._folder / replaced.name[len(_REPLACED) :]
            if not path.exists():
                try:
                    replaced.rename(path)
                    sync_folder(self._folder)
                except OSError as error:
                    return [f"can't put {path} back: {error.strerror}"]
        return []

    def _remove_rubbish(self, *prefixes: str) -> list[str]:
        return [
            warning
            for prefix in prefixes
            for path in list(self._folder.glob(f"{prefix}*"))
            for warning in _try_to_remove(path)
        ]


def _name(version: str, digest: str) -> str:
    return f"{version}-{digest[:12]}"


class Staging:
    """A folder to unpack into, on the same file system as the releases."""

    def __init__(self, releases: Releases, path: Path) -> None:
        self._releases = releases
        self.path = path

    def publish(
        self,
        version: str,
        digest: str,
        entries: Collection[Entry],
        signed: Signed | None = None,
    ) -> Release:
        """Make this folder the release of `version`; the tree in it is already durable.

        If the same release is there and whole, that one is returned, with `signed` if that is
        new, and this folder is dropped; a damaged one is replaced, and what it held stays on
        disk until `prune`, since its service may still run. What is published counts as verified:
        it was hashed when it was unpacked, and is durable. Raises `StepError`.
        """
        return self._releases.publish(self.path, version, digest, entries, signed)


@contextmanager
def _naming(what: str) -> Iterator[None]:
    """Translate what the system says while `what` was tried."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StepError(f"can't {what}: no space left on the disk") from None
        raise StepError(f"can't {what}: {error.strerror} ({error.filename})") from None


def _remove_tree(path: Path) -> None:
    if path.exists() or path.is_symlink():
        remove_tree(path)


def _try_to_remove(path: Path) -> list[str]:
    """Remove a file, link or tree; return a warning if that fails."""
    try:
        if path.is_dir() and not path.is_symlink():
            remove_tree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        return [f"can't remove {path}: {error.strerror}"]
    return []
