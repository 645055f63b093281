"""What may be decided of a host, and what becomes of it: every pair of state and decision."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from coordinator.admission import MOVES, Arrival, Move, described, joined, moved, why_refused
from coordinator.ports import HostRow, TokenRow
from protocol.errors import ConflictError, NotFoundError, PermissionDeniedError
from protocol.states import HostState

THEN = datetime(2026, 3, 1, tzinfo=UTC)
NOW = THEN + timedelta(days=1)
KEY, OTHER = "aa" * 32, "bb" * 32
OPERATORS = (Move.APPROVE, Move.REJECT, Move.REVOKE)


def host(state: HostState, **fields: Any) -> HostRow:
    made = HostRow("h-1", THEN, state=state, state_since=THEN, fingerprint=KEY, generation=3)
    return replace(made, **fields)


def token(host_id: str = "", made: datetime = NOW) -> TokenRow:
    return TokenRow("t-1", "join", "", "", made, host_id=host_id)


def comes(with_token: TokenRow, key: str = KEY) -> Arrival:
    return Arrival("h-1", key, "10.0.0.1", with_token)


@pytest.mark.parametrize("move", OPERATORS)
@pytest.mark.parametrize("state", [state for state in HostState if state is not HostState.PENDING])
def test_a_host_as_it_stands_moves_by_the_table(state: HostState, move: Move) -> None:
    known = host(state)
    if move not in MOVES[state]:
        with pytest.raises(ConflictError, match=f"h-1 is {state.value}: it "):
            moved(known, "h-1", move, NOW)
        return
    row = moved(known, "h-1", move, NOW)
    assert row.state is MOVES[state][move]
    assert row.fingerprint == KEY
    assert row.generation == known.generation + (move is Move.REVOKE and row is not known)
    if row.state is state:
        assert row is known, "the same decision again changes nothing"


@pytest.mark.parametrize("known", [None, HostState.REJECTED, HostState.REVOKED])
@pytest.mark.parametrize("move", OPERATORS)
def test_a_key_that_asks_is_decided_of_as_pending(known: HostState | None, move: Move) -> None:
    before = host(known) if known else None
    if move is Move.REVOKE:
        with pytest.raises(ConflictError, match="h-1 is pending: it was not let in: reject it"):
            moved(before, "h-1", move, NOW, asking=OTHER)
        return
    row = moved(before, "h-1", move, NOW, asking=OTHER, address="10.0.0.9")
    assert (row.state, row.fingerprint) == (MOVES[HostState.PENDING][move], OTHER)
    assert row.generation == (before.generation if before else 0), "old certificates stay refused"


@pytest.mark.parametrize("state", [HostState.APPROVED, HostState.JOINED])
def test_no_key_that_asks_takes_the_place_of_one_that_was_let_in(state: HostState) -> None:
    for move in OPERATORS:
        with pytest.raises(ConflictError, match=f"h-1 was let in already with the key {KEY}"):
            moved(host(state), "h-1", move, NOW, asking=OTHER)


def test_a_host_that_nobody_knows_is_named() -> None:
    for move in OPERATORS:
        with pytest.raises(NotFoundError, match="no host h-1 asked to be let in or joined"):
            moved(None, "h-1", move, NOW)


# ---- join tokens -----------------------------------------------------------


def test_any_token_lets_in_who_is_not_known() -> None:
    row = joined(None, comes(token()), NOW)
    assert (row.state, row.fingerprint, row.generation) == (HostState.JOINED, KEY, 0)


def test_a_token_of_another_host_lets_nobody_in() -> None:
    with pytest.raises(PermissionDeniedError, match="lets only h-2 join, not h-1"):
        joined(None, comes(token("h-2")), NOW)


@pytest.mark.parametrize("state", [HostState.APPROVED, HostState.JOINED])
def test_another_key_needs_a_token_that_names_the_host(state: HostState) -> None:
    with pytest.raises(ConflictError, match="has joined already with another key: only a token"):
        joined(host(state), comes(token(), OTHER), NOW)
    row = joined(host(state), comes(token("h-1"), OTHER), NOW)
    assert (row.state, row.fingerprint) == (HostState.JOINED, OTHER)
    assert row.generation == 4, "certificates of the old key are refused from now on"


def test_a_token_lets_whom_it_has_let_in_come_with_another_key() -> None:
    first = joined(None, comes(token()), NOW)
    row = joined(first, comes(token(), OTHER), NOW)
    assert (row.fingerprint, row.generation) == (OTHER, first.generation + 1)
    later = moved(row, "h-1", Move.REVOKE, NOW)
    with pytest.raises(ConflictError, match="h-1 was revoked"):
        joined(later, comes(token()), NOW)


def test_the_same_key_again_changes_no_generation() -> None:
    assert joined(host(HostState.JOINED), comes(token()), NOW).generation == 3


def test_a_revoked_host_needs_a_newer_token_that_names_it() -> None:
    known = host(HostState.REVOKED)
    for bad in (token(), token("h-1", THEN), token("h-1", THEN - timedelta(hours=1))):
        with pytest.raises(ConflictError, match=r"h-1 was revoked: only a new token .* --host h-1"):
            joined(known, comes(bad, OTHER), NOW)
    row = joined(known, comes(token("h-1"), OTHER), NOW)
    assert (row.state, row.generation) == (HostState.JOINED, 3)


# ---- certificates ----------------------------------------------------------


def test_certificates_of_an_earlier_generation_are_refused() -> None:
    revoked = moved(host(HostState.JOINED), "h-1", Move.REVOKE, NOW)
    assert why_refused(revoked, 3).startswith("h-1 was revoked on 2026-03-02T00:00:00Z")
    again = joined(revoked, comes(token("h-1", NOW + timedelta(1)), OTHER), NOW + timedelta(1))
    assert "this certificate of h-1 was revoked" in why_refused(again, 3)
    assert why_refused(again, again.generation) == ""
    assert why_refused(None, 0) == "", "a database that was lost knows of no revocation"


def test_what_a_host_tells_of_itself_undoes_no_decision() -> None:
    revoked = moved(host(HostState.JOINED), "h-1", Move.REVOKE, NOW)
    late = host(HostState.JOINED, agent_version="1", last_seen=NOW, protocol=(1, 2))
    row = described(revoked, late)
    assert (row.state, row.generation, row.agent_version) == (HostState.REVOKED, 4, "1")


def test_a_host_that_comes_with_its_certificate_has_joined() -> None:
    told = host(HostState.JOINED, last_seen=NOW)
    for state in (HostState.APPROVED, HostState.REVOKED):
        row = described(host(state), told)
        assert (row.state, row.state_since) == (HostState.JOINED, NOW)
    newer = described(host(HostState.REVOKED), replace(told, generation=5))
    assert newer.generation == 5, "a database that was put back learns what it has lost"


def test_a_protocol_version_never_goes_down() -> None:
    known = host(HostState.JOINED, protocol=(1, 4))
    assert described(known, host(HostState.JOINED, protocol=(1, 2))).protocol == (1, 4)
    assert described(known, host(HostState.JOINED, protocol=(2, 0))).protocol == (2, 0)
