"""What becomes of a host when somebody decides of it: one table, and the rules of join tokens.

Pure: a row and the moment come in, a row goes out, and a refusal names the host and the way
out. Certificates are fenced by the host's generation, which grows when the host is revoked and
when it joins with another key: what was signed for an earlier one is refused for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from coordinator.ports import HostRow, TokenRow
from protocol.errors import ConflictError, NotFoundError, PermissionDeniedError
from protocol.states import HostState


class Move(Enum):
    """What may be decided of a host."""

    APPROVE = "approve"
    REJECT = "reject"
    REVOKE = "revoke"
    JOIN = "join"
    """Let in by a join token."""


MOVES: Mapping[HostState, Mapping[Move, HostState]] = {
    HostState.PENDING: {
        Move.APPROVE: HostState.APPROVED,
        Move.REJECT: HostState.REJECTED,
        Move.JOIN: HostState.JOINED,
    },
    HostState.APPROVED: {
        Move.APPROVE: HostState.APPROVED,
        Move.REVOKE: HostState.REVOKED,
        Move.JOIN: HostState.JOINED,
    },
    HostState.JOINED: {Move.REVOKE: HostState.REVOKED, Move.JOIN: HostState.JOINED},
    HostState.REJECTED: {
        Move.APPROVE: HostState.APPROVED,
        Move.REJECT: HostState.REJECTED,
        Move.JOIN: HostState.JOINED,
    },
    HostState.REVOKED: {Move.REVOKE: HostState.REVOKED, Move.JOIN: HostState.JOINED},
}
"""A pair that is not here is refused and changes nothing."""

_WAY_OUT: Mapping[tuple[HostState, Move], str] = {
    (HostState.PENDING, Move.REVOKE): "it was not let in: reject it",
    (HostState.APPROVED, Move.REJECT): "it was let in: revoke it",
    (HostState.JOINED, Move.APPROVE): "it was let in already",
    (HostState.JOINED, Move.REJECT): "it was let in: revoke it",
    (HostState.REJECTED, Move.REVOKE): "it was never let in",
    (HostState.REVOKED, Move.APPROVE): "it does not ask to be let in: start its agent "
    "without agent.pem and without a join token",
    (HostState.REVOKED, Move.REJECT): "it is out already, and does not ask to be let in",
}

LET_IN = (HostState.APPROVED, HostState.JOINED)


def moved(
    known: HostRow | None,
    host_id: str,
    move: Move,
    now: datetime,
    *,
    asking: str = "",
    address: str = "",
) -> HostRow:
    """The host's row after an operator's decision.

    `asking` is the fingerprint of a key that asks, from `address`, to be let in as this host; ""
    if the decision is about the host as it stands. Raises `NotFoundError` or `ConflictError`.
    """
    if known is None and not asking:
        raise NotFoundError(
            f"host_id: no host {host_id} asked to be let in or joined",
            [{"field": "host_id", "message": "unknown"}],
        )
    if known is not None and known.state in LET_IN and asking not in ("", known.fingerprint):
        said = f"{host_id} was let in already with the key {known.fingerprint}"
        raise ConflictError(f"host_id: {said}", [{"field": "host_id", "message": said}])
    stands = known is not None and (known.state in LET_IN or not asking)
    state = known.state if known is not None and stands else HostState.PENDING
    if move not in MOVES[state]:
        said = f"{host_id} is {state.value}: {_WAY_OUT[state, move]}"
        raise ConflictError(f"host_id: {said}", [{"field": "host_id", "message": said}])
    new = MOVES[state][move]
    if known is not None and stands and new is state:
        return known
    before = known or HostRow(host_id, joined_at=now, address=address)
    return replace(
        before,
        state=new,
        state_since=now,
        fingerprint=asking or before.fingerprint,
        token_id="" if new is HostState.APPROVED else before.token_id,
        generation=before.generation + (move is Move.REVOKE),
        joined_at=now if new is HostState.APPROVED else before.joined_at,
    )


@dataclass(frozen=True, slots=True)
class Arrival:
    """A host that comes with a join token."""

    host_id: str
    fingerprint: str
    """Of the key for which it wants a certificate."""
    address: str
    token: TokenRow


def joined(known: HostRow | None, came: Arrival, now: datetime) -> HostRow:
    """The host's row after it came with a join token.

    A token that names no host lets in who is not known yet, and again whom it has let in. Raises
    `PermissionDeniedError` for a token of another host, `ConflictError` if the host must have a
    token of its own, or a newer one.
    """
    token, host_id = came.token, came.host_id
    if token.host_id and token.host_id != host_id:
        said = f"the token lets only {token.host_id} join, not {host_id}"
        raise PermissionDeniedError(said, [{"field": "host_id", "message": said}])
    new_key = known is not None and known.fingerprint != came.fingerprint
    if known is not None and known.state is HostState.REVOKED:
        _need_token_of_its_own(known, token, f"{host_id} was revoked")
    elif (
        known is not None and known.state in LET_IN and new_key and known.token_id != token.token_id
    ):
        _need_token_of_its_own(known, token, f"{host_id} has joined already with another key")
    before = known or HostRow(host_id, joined_at=now)
    ends_the_old = new_key and before.state in LET_IN
    return replace(
        before,
        state=HostState.JOINED,
        state_since=before.state_since if before.state is HostState.JOINED else now,
        joined_at=now,
        address=came.address,
        fingerprint=came.fingerprint,
        token_id=token.token_id,
        generation=before.generation + ends_the_old,
    )


def _need_token_of_its_own(known: HostRow, token: TokenRow, why: str) -> None:
    revoked = known.state is HostState.REVOKED
    old = revoked and known.state_since is not None and token.created_at <= known.state_since
    if token.host_id and not old:
        return
    how = f"ferryman token create --role join --host {known.host_id}"
    said = f"{why}: only a {'new ' * revoked}token that names it lets it join again ({how})"
    raise ConflictError(f"host_id: {said}", [{"field": "host_id", "message": said}])


def in_brief(row: HostRow) -> dict[str, object]:
    """What the audit trail tells of a host."""
    return {
        "state": row.state.value,
        "fingerprint": row.fingerprint,
        "generation": row.generation,
    }


def why_refused(known: HostRow | None, generation: int) -> str:
    """Why a certificate of this generation does not let the host in; "" if it does."""
    if known is None or generation >= known.generation:
        return ""
    if known.state is HostState.REVOKED and known.state_since is not None:
        on = f"{known.state_since:%Y-%m-%dT%H:%M:%SZ}"
        return f"{known.host_id} was revoked on {on}: only a new token, or approval, lets it in"
    return f"this certificate of {known.host_id} was revoked; the host was let in anew since"


def described(known: HostRow | None, told: HostRow) -> HostRow:
    """A host's row with what it tells of itself; what was decided of it stays.

    A host that shows a certificate of its generation, or of a later one that this database has
    lost, has joined.
    """
    if known is None:
        return told
    came = told.state is HostState.JOINED and told.generation >= known.generation
    joins = came and known.state is not HostState.JOINED
    return replace(
        known,
        agent_version=told.agent_version,
        address=told.address,
        last_seen=told.last_seen,
        fingerprint=told.fingerprint or known.fingerprint,
        protocol=max(known.protocol, told.protocol),
        certified_by=told.certified_by or known.certified_by,
        believes=told.believes or known.believes,
        state=HostState.JOINED if came else known.state,
        state_since=told.last_seen if joins else known.state_since,
        generation=told.generation if came else known.generation,
    )
