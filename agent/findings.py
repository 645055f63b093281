"""What was found when a release was last looked through: whole, or what differs; and when.

One small file beside each release, `releases/.NAME.proof`, so that a proof survives a restart
of the agent and goes with its release. A finding is about the disk as it was then: nothing is
run because of one, it only tells people how good a way back is. So nobody waits for the disk: a
file that a power cut takes, or that can't be read, is no finding, and the release is looked
through again; one that can't be written is known until the agent ends.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from agent.core.age import Moment

SUFFIX = ".proof"

MAX_DAMAGED = 120
"""Characters of a finding: those of all releases of a host have to fit into one frame."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Finding:
    """The last look at one release."""

    at: Moment
    """When it ended."""
    whole: Moment | None
    """When the release was last found whole; None if it never was."""
    damaged: str = ""
    """What differs, "" if nothing did."""


class Findings:
    """The findings of all releases in one folder, by the releases' names."""

    def __init__(self, folder: Path, now: Callable[[], Moment]) -> None:
        self._folder = folder
        self._now = now
        self._known: dict[str, Finding | None] = {}

    def of(self, name: str) -> Finding | None:
        """The last finding of a release; None if it was never looked through."""
        if name not in self._known:
            self._known[name] = _load(self.file(name))
        return self._known[name]

    def keep(self, name: str, damaged: str) -> None:
        """The release has been looked through to the end just now."""
        before, now = self.of(name), self._now()
        damaged = damaged[:MAX_DAMAGED]
        if damaged and not (before and before.damaged == damaged):
            _log.error("the release %s in %s is damaged: %s", name, self._folder, damaged)
        whole = (before.whole if before else None) if damaged else now
        self._known[name] = finding = Finding(now, whole, damaged)
        try:
            _replace(self.file(name), json.dumps(asdict(finding)).encode())
        except OSError as error:
            _log.warning("%s can't be written: %s", self.file(name), error.strerror)

    def forget(self, name: str) -> None:
        """The release goes, or another tree takes its name. Raises `OSError`."""
        self.file(name).unlink(missing_ok=True)
        self._known[name] = None

    def file(self, name: str) -> Path:
        """Where the finding of a release stands."""
        return self._folder / f".{name}{SUFFIX}"


def _replace(file: Path, data: bytes) -> None:
    """Put `data` in `file`, whole or not at all unless the power goes. Raises `OSError`."""
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}.tmp")
    try:
        draft.write_bytes(data)
        draft.replace(file)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def _load(file: Path) -> Finding | None:
    try:
        raw = json.loads(file.read_bytes())
        whole = raw["whole"]
        return Finding(_moment(raw["at"]), _moment(whole) if whole else None, str(raw["damaged"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _moment(raw: dict[str, str | float]) -> Moment:
    return Moment(str(raw["boot"]), float(raw["seconds"]), float(raw["wall"]))
