"""Another coordinator where this host's own was expected: refused, and told with both digests.

A host believes the authorities in its `ca.pem` and no other; only its coordinator, over a
connection that they verified, and whoever administers the host change that.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from agent.identity import (
    AUTHORITY_FILE,
    CERTIFICATE_FILE,
    EnrollError,
    digest_of_certificate,
    digests_of,
)
from agent.questions import shown_authorities


class StrangerError(EnrollError):
    """Another coordinator than the one that this host trusts."""


def pinned(state_dir: Path) -> tuple[str, ...]:
    """SHA-256 of each authority that this host trusts from an earlier time; empty for none."""
    try:
        return digests_of((state_dir / AUTHORITY_FILE).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return ()


def stranger(whose: str, found: str, trusted: Collection[str], state_dir: Path) -> StrangerError:
    """The refusal of `whose` authority `found`, by a host that trusts others."""
    return StrangerError(
        f"{whose} has an authority with the SHA-256 {found}, and this host trusts "
        f"{' and '.join(trusted)}: refused, no secret was sent. Is somebody in between? If this "
        f"host is to belong to that coordinator, remove {AUTHORITY_FILE} and {CERTIFICATE_FILE} "
        f"in {state_dir} and join anew"
    )


async def why_not_ours(url: str, trusted: Collection[str], state_dir: Path) -> str:
    """Why the coordinator at `url` could not prove to be this host's own."""
    try:
        shown = [digest_of_certificate(one) for one in await shown_authorities(url)]
    except (EnrollError, ValueError):
        shown = []
    if shown and set(shown).isdisjoint(trusted):
        return stranger(url, shown[0], trusted, state_dir).message
    return f"{url} can't prove that it is the coordinator with the authority {' or '.join(trusted)}"
