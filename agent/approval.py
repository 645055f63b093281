"""Coming in without a join token: the host asks, and an operator approves its key.

There is no digest to check the coordinator by, unless the settings name one. So the agent says
in its log which key it has and which authority it found, for the operator to compare with
what the coordinator shows, and holds on to that authority while it waits. No secret goes out:
the request holds the public key. What an approval brings is kept as after joining with a token.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from agent.identity import (
    KEY_FILE,
    EnrollError,
    Identity,
    digest_of_certificate,
    save,
    trusting,
)
from agent.keys import fingerprint_of_key, key_and_request
from agent.questions import ask, certificate_in, shown_authorities
from agent.strangers import pinned, stranger

log = logging.getLogger(__name__)

FIRST_PAUSE = 2.0
LONGEST_PAUSE = 60.0
LONGEST_PAUSE_REFUSED = 3600.0
"""Seconds between two requests once the answer was no: ever more rarely."""

_NOT_FOR_EVER = (403, 404, 409)
"""Refusals that an operator may lift."""


class Approval:
    """One host's request to be let in, until it is."""

    def __init__(
        self,
        state_dir: Path,
        host_id: str,
        expected: str = "",
        *,
        draw: Callable[[], float] = random.random,
        make_request: Callable[[Path, str], Awaitable[str]] = key_and_request,
        fingerprint: Callable[[Path], Awaitable[str]] = fingerprint_of_key,
    ) -> None:
        """`expected` is the SHA-256 of the authority that the settings name, "" for none.

        `make_request` makes the key in a file, if there is none, and a request for it;
        `fingerprint` tells the SHA-256 of its public part.
        """
        self._state_dir = state_dir
        self._host_id = host_id
        self._checked = bool(expected)
        self._believed = (expected,) if expected else pinned(state_dir)
        self._draw = draw
        self._make_request = make_request
        self._fingerprint = fingerprint
        self._tries = 0
        self._refused = False
        self._told = ""

    @property
    def believed(self) -> tuple[str, ...]:
        """SHA-256 of each authority that is asked, none while any will do."""
        return self._believed

    def pause(self) -> float:
        """Seconds until the next request: growing, jittered, longer once it was refused."""
        longest = LONGEST_PAUSE_REFUSED if self._refused else LONGEST_PAUSE
        grown = min(longest, FIRST_PAUSE * 2.0 ** min(self._tries, 20))
        self._tries += 1
        return grown * (0.5 + self._draw() / 2)

    async def ask(self, url: str) -> Identity | None:
        """Ask the coordinator at `url`; the identity once it has approved, else None.

        Raises `EnrollError`: a `StrangerError` for another coordinator than the one asked before.
        """
        shown = {digest_of_certificate(one): one for one in await shown_authorities(url)}
        known = [digest for digest in shown if digest in self._believed]
        digest = next(iter(known or shown))
        if self._believed and not known:
            raise stranger(url, digest, self._believed, self._state_dir)
        authority = shown[digest]
        try:
            self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            csr = await self._make_request(self._state_dir / KEY_FILE, self._host_id)
            key = await self._fingerprint(self._state_dir / KEY_FILE)
            self._believed = (digest,)
            self._tell(url, key, digest)
            answer = await ask(
                "POST",
                f"{url}/v1/agent/join",
                trusting(authority),
                {"host_id": self._host_id, "csr": csr},
                may_pass=_NOT_FOR_EVER,
            )
            return self._take(answer, url, key)
        except OSError as error:
            where = error.filename or self._state_dir
            raise EnrollError(f"{where}: {error.strerror or error}") from None

    def _tell(self, url: str, key: str, digest: str) -> None:
        checked = "as authority_sha256 says" if self._checked else "which nothing here can check"
        told = (
            f"this host has no join token and asks {url} to let it in as {self._host_id}. "
            f"Compare before you approve: its key has the SHA-256 {key}; "
            f"the coordinator's authority has the SHA-256 {digest}, {checked}"
        )
        if told != self._told:
            log.warning("%s", told)
        self._told = told

    def _take(self, answer: dict[str, Any], url: str, key: str) -> Identity | None:
        if answer.get("certificate"):
            certificate = certificate_in(answer, "certificate", url)
            signed_by = certificate_in(answer, "authority", url)
            identity = save(self._state_dir, self._host_id, signed_by, certificate)
            log.info("%s approved this host's key %s", url, key)
            return identity
        refused = answer.get("state") == "rejected"
        if refused and not self._refused:
            log.error(
                "%s rejected this host: an operator refused the key %s. It asks ever more rarely; "
                "`ferryman host approve %s` lets it in after all",
                url,
                key,
                self._host_id,
            )
        if refused != self._refused:
            self._tries = 0
        self._refused = refused
        return None
