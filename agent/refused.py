"""Why a package is not taken: it breaks a rule, or it ends before its end."""

from __future__ import annotations

from agent.ports import StepError


class RefusedError(StepError):
    """The archive breaks a rule of its reader; another attempt brings the same bytes."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"package refused: {reason}")
        self.reason = reason

    def at(self, place: str) -> RefusedError:
        """Return the same refusal with the place in the archive where it was noticed."""
        return type(self)(f"{self.reason} ({place})") if place else self


class TruncatedError(RefusedError):
    """The archive ends before its end."""
