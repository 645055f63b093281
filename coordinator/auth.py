"""Tokens: who may do what. Only their SHA-256 is kept; the text is shown once, when made.

A person's token is `ferryman-<role>-<secret>`, a join token `ferryman-join-1.<SHA-256 of
the authority>.<secret>`, so that an agent can verify the coordinator before it sends it.
The secrets have 256 random bits, so that a plain digest protects them, and looking a token
up by its digest tells an attacker nothing by its timing. Nothing here logs a token.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from coordinator.caller import Role
from coordinator.core.chain import AuditRow
from coordinator.core.evidence import done
from coordinator.ports import Clock, Store, TokenRow
from protocol.access import DEFAULT_USES
from protocol.durable import write_durably
from protocol.errors import UnauthenticatedError, UnavailableError
from protocol.settings import SettingsError

DEFAULT_JOIN_TTL = 3600
"""Seconds that a join token lives if nobody says otherwise. People's tokens live for ever."""

TOUCH_EVERY = timedelta(minutes=1)
MAX_TOKEN = 1024

_ADMIN = re.compile(r"ferryman-admin-[A-Za-z0-9_-]{43}", re.ASCII)
_log = logging.getLogger(__name__)


class Tokens:
    """Makes and checks the tokens in a store."""

    def __init__(self, store: Store, clock: Clock, ca_digest: Callable[[], str]) -> None:
        """`ca_digest` tells the SHA-256 of the authority's certificate, in hex."""
        self._store = store
        self._clock = clock
        self._untouched = False
        """Whether the last use of a token could not be saved: it is logged once."""
        self._ca_digest = ca_digest

    async def create(
        self,
        role: Role,
        ttl: float | None = None,
        name: str = "",
        services: Sequence[str] = (),
        *,
        uses: int | None = None,
        host_id: str = "",
        audit: AuditRow | None = None,
    ) -> tuple[TokenRow, str]:
        """Make a token that lives `ttl` seconds; return it with its text, for the only time.

        `audit` is the request's row, which is kept with the token.

        Without `ttl` a join token lives an hour, another one until it is revoked. A join token
        lets in `uses` hosts (by default one if it names a host, else many). A person's is
        restricted to the services that one of the patterns in `services` matches, if there
        are any.
        """
        if ttl is None and role is Role.JOIN:
            ttl = DEFAULT_JOIN_TTL
        text = self._new_text(role)
        row = self._row(role, text, name, ttl, tuple(services))
        if role is Role.JOIN:
            row = replace(row, host_id=host_id, uses=uses or (1 if host_id else DEFAULT_USES))
        await self._store.add_token(row, [_made(row, audit)] if audit else [])
        return row, text

    async def use(self, row: TokenRow, host_id: str, fingerprint: str) -> None:
        """Count a use of a join token; raises `UnauthenticatedError` if it is used up.

        The same host with the same key, which has lost the answer, is not counted again.
        """
        if not await self._store.use_token(row.token_id, host_id, fingerprint):
            hosts = "1 host" if row.uses == 1 else f"{row.uses} hosts"
            raise UnauthenticatedError(f"the token is used up: it was good for {hosts}")

    async def check(self, text: str) -> TokenRow:
        """Return the valid token with this text.

        Raises `UnauthenticatedError` saying whether it is unknown, expired or revoked.
        """
        row = None
        if 0 < len(text) <= MAX_TOKEN:
            row = await self._store.token_by_digest(digest_of(text))
        if row is None:
            raise UnauthenticatedError("the token is not known here")
        now = self._clock.now().wall
        if row.revoked_at is not None:
            raise UnauthenticatedError("the token was revoked")
        if row.expires_at is not None and row.expires_at <= now:
            raise UnauthenticatedError("the token has expired")
        if row.last_used_at is None or abs(now - row.last_used_at) >= TOUCH_EVERY:
            await self._touch(row.token_id, now)
        return row

    async def _touch(self, token_id: str, now: datetime) -> None:
        """Save when the token was last used, if that can be saved: nobody is refused for it."""
        try:
            await self._store.touch_token(token_id, now)
        except UnavailableError as error:
            if not self._untouched:
                _log.warning("when tokens were last used can't be saved: %s", error.message)
            self._untouched = True
        else:
            self._untouched = False

    async def ensure_admin(self, path: Path, audit: AuditRow | None = None) -> None:
        """See to it that `path` holds an admin token that the store knows.

        A missing file is made with a new token, on later starts, too: whoever can write in
        that folder owns the database anyway. A token that the store does not know (another
        database) is taken into it, and `audit` with it; a revoked one stays revoked. Raises
        `SettingsError` if the file can't be read or written, or holds something else.
        """
        text = _read_admin(path)
        if text is None:
            text = self._write_admin(path)
            level = logging.WARNING if await self._store.tokens() else logging.INFO
            _log.log(level, "%s was not there: it now holds a new admin token", path)
        row = await self._store.token_by_digest(digest_of(text))
        if row is None:
            row = self._row(Role.ADMIN, text, path.name, None)
            await self._store.add_token(row, [_made(row, audit)] if audit else [])
        elif row.revoked_at is not None:
            _log.warning("the token in %s was revoked; remove the file to get a new one", path)

    def _write_admin(self, path: Path) -> str:
        text = self._new_text(Role.ADMIN)
        try:
            write_durably(path, f"{text}\n".encode("ascii"), mode=0o600)
        except OSError as error:
            raise SettingsError(f"{path}: {error.strerror or error}") from None
        return text

    def _new_text(self, role: Role) -> str:
        secret = secrets.token_urlsafe(32)
        if role is Role.JOIN:
            return f"ferryman-join-1.{self._ca_digest()}.{secret}"
        return f"ferryman-{role.value}-{secret}"

    def _row(
        self, role: Role, text: str, name: str, ttl: float | None, services: tuple[str, ...] = ()
    ) -> TokenRow:
        now = self._clock.now().wall
        return TokenRow(
            token_id=f"token-{secrets.token_hex(8)}",
            role=role.value,
            digest=digest_of(text),
            name=name,
            created_at=now,
            expires_at=_later(now, ttl),
            services=services,
        )


def _read_admin(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        text = ""
    if not _ADMIN.fullmatch(text):
        raise SettingsError(f"{path}: holds no admin token; remove it to get a new one")
    return text


def digest_of(text: str) -> str:
    """The SHA-256 under which a token is kept, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def token_in_brief(row: TokenRow) -> dict[str, object]:
    """What the audit trail tells of a token."""
    return {
        "role": row.role,
        "name": row.name,
        "services": list(row.services),
        "expires_at": row.expires_at,
        "revoked_at": row.revoked_at,
        **({"host_id": row.host_id, "uses": row.uses} if row.role == Role.JOIN.value else {}),
    }


def _made(row: TokenRow, audit: AuditRow) -> AuditRow:
    return done(audit, token_in_brief(row), row.token_id)


def _later(now: datetime, ttl: float | None) -> datetime | None:
    return None if ttl is None else now + timedelta(seconds=ttl)
