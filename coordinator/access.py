"""Tokens: made, listed, checked and revoked. The facade's part about who may ask."""

from __future__ import annotations

from dataclasses import replace

from coordinator.audit import Audit
from coordinator.auth import Tokens, token_in_brief
from coordinator.caller import Caller, Role
from coordinator.core.chain import AuditRow
from coordinator.core.evidence import done, said
from coordinator.core.task import Moment
from coordinator.ports import Clock, Store, TokenRow
from coordinator.token_ends import TokenEnds
from coordinator.views import token_view
from protocol.access import CreatedToken, Token, TokenList, TokenParams
from protocol.errors import NotFoundError


class Access:
    """Makes, lists, checks and revokes tokens."""

    _caller: Caller

    def __init__(self, *, store: Store, clock: Clock, tokens: Tokens, audit: Audit) -> None:
        self._store = store
        self._clock = clock
        self._tokens = tokens
        self._token_ends = TokenEnds(clock)
        self._audit = audit

    async def create_token(self, params: TokenParams) -> CreatedToken:
        """(+) Make a token; its secret is in this answer and nowhere else."""
        asked = params.model_dump(exclude_none=True)
        with self._audit.asked(self._caller, "create_token", "", asked) as audit:
            row, secret = await self._tokens.create(
                Role(params.role),
                params.ttl,
                params.name,
                params.services or (),
                uses=params.uses,
                host_id=params.host_id or "",
                audit=audit,
            )
        return CreatedToken(**token_view(row).model_dump(), secret=secret)

    async def list_tokens(self) -> TokenList:
        """(+) All tokens, newest first, without secrets."""
        return TokenList(tokens=[token_view(row) for row in await self._store.tokens()])

    async def revoke_token(self, token_id: str) -> Token:
        """(+) End a token at once; revoking it again changes nothing."""
        with self._audit.asked(self._caller, "revoke_token", token_id) as audit:
            row = await self._revoke(token_id, audit)
        self._token_ends.revoked(token_id)
        return token_view(row)

    async def _revoke(self, token_id: str, audit: AuditRow) -> TokenRow:
        now = self._now().wall
        before = await self._store.token(token_id)
        row = None
        if before is not None:
            ended = token_in_brief(replace(before, revoked_at=before.revoked_at or now))
            told = done(replace(audit, before=said(token_in_brief(before))), ended)
            row = await self._store.revoke_token(token_id, now, [told])
        if row is None:
            raise NotFoundError(
                f"no token {token_id}", [{"field": "token_id", "message": "unknown"}]
            )
        return row

    async def authenticate(self, token_text: str) -> TokenRow:
        """The valid token that this secret is; else `UnauthenticatedError`."""
        return await self._tokens.check(token_text)

    async def token_ended(self, caller: Caller) -> None:
        """Return when the caller's token has expired or was revoked here."""
        await self._token_ends.of(caller)

    def _now(self) -> Moment:
        return self._clock.now()
