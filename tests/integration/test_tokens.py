"""Tokens on a real store: made once, kept as digests, refused when over."""

from __future__ import annotations

import re
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from coordinator.auth import Tokens
from coordinator.caller import Caller, Role
from coordinator.core.task import Moment
from coordinator.permissions import require
from coordinator.ports import TokenRow
from coordinator.store import SqlStore
from protocol.errors import PermissionDeniedError, UnauthenticatedError
from protocol.settings import SettingsError

CA = "c0" * 32
PEOPLE = [role for role in Role if role is not Role.JOIN]


@dataclass
class HandClock:
    """A clock that a test moves."""

    wall: datetime = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

    def now(self) -> Moment:
        return Moment(0.0, self.wall)

    def pass_by(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    opened = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path}/store.db")
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def tokens(store: SqlStore, clock: HandClock) -> Tokens:
    return Tokens(store, clock, lambda: CA)


@pytest.mark.parametrize("role", PEOPLE)
async def test_a_persons_token_lives_until_it_is_revoked(
    tokens: Tokens, store: SqlStore, clock: HandClock, role: Role
) -> None:
    row, text = await tokens.create(role, name="laptop")
    assert re.fullmatch(rf"ferryman-{role.value}-[A-Za-z0-9_-]{{43}}", text)
    assert (row.role, row.name, row.expires_at) == (role.value, "laptop", None)
    clock.pass_by(10 * 365 * 86_400)
    assert (await tokens.check(text)).token_id == row.token_id
    await store.revoke_token(row.token_id, clock.wall)
    with pytest.raises(UnauthenticatedError, match="revoked"):
        await tokens.check(text)


async def test_a_join_token_names_the_authority_and_lives_an_hour(
    tokens: Tokens, clock: HandClock
) -> None:
    _, text = await tokens.create(Role.JOIN)
    assert re.fullmatch(rf"ferryman-join-1\.{CA}\.[A-Za-z0-9_-]{{43}}", text)
    clock.pass_by(3599)
    assert (await tokens.check(text)).role == "join"
    clock.pass_by(1)
    with pytest.raises(UnauthenticatedError, match="expired"):
        await tokens.check(text)


async def test_a_token_lives_as_long_as_it_was_made_for(tokens: Tokens, clock: HandClock) -> None:
    _, text = await tokens.create(Role.VIEWER, ttl=60)
    clock.pass_by(59)
    await tokens.check(text)
    clock.pass_by(1)
    with pytest.raises(UnauthenticatedError, match="expired"):
        await tokens.check(text)


async def test_what_is_no_token_is_not_known(tokens: Tokens) -> None:
    _, text = await tokens.create(Role.ADMIN)
    for wrong in ("", "x", text[:-1], text + "x", text.upper(), "x" * 5000, "\ud800"):
        with pytest.raises(UnauthenticatedError) as refused:
            await tokens.check(wrong)
        assert refused.value.message == "the token is not known here"


def database(folder: Path) -> bytes:
    """Everything that SQLite has written: the file and its log."""
    return b"".join(file.read_bytes() for file in folder.glob("store.db*"))


async def test_only_digests_are_kept(tokens: Tokens, tmp_path: Path) -> None:
    for role in Role:
        row, text = await tokens.create(role)
        secret = text[-43:].encode()
        assert row.digest.encode() in database(tmp_path)
        assert secret not in database(tmp_path)


async def test_the_last_use_is_noted_once_a_minute(
    tokens: Tokens, store: SqlStore, clock: HandClock
) -> None:
    async def last_use() -> datetime | None:
        return (await store.tokens())[0].last_used_at

    _, text = await tokens.create(Role.VIEWER)
    assert await last_use() is None
    start = clock.wall
    await tokens.check(text)
    assert await last_use() == start
    clock.pass_by(59)
    await tokens.check(text)
    assert await last_use() == start
    clock.pass_by(1)
    await tokens.check(text)
    assert await last_use() == clock.wall


# ---- roles -----------------------------------------------------------------


def test_a_role_may_do_what_lower_ones_may() -> None:
    now = datetime.now(UTC)
    allowed = set()
    for role in Role:
        caller = Caller.of_token(TokenRow("token-1", role.value, "", "", now))
        for needed in Role:
            try:
                require(caller, needed)
            except PermissionDeniedError as refused:
                assert f"needs the role {needed.value}" in refused.message  # noqa: PT017
            else:
                allowed.add((role, needed))
    assert allowed == {
        (Role.JOIN, Role.JOIN),
        (Role.VIEWER, Role.VIEWER),
        (Role.DEPLOYER, Role.VIEWER),
        (Role.DEPLOYER, Role.DEPLOYER),
        (Role.ADMIN, Role.VIEWER),
        (Role.ADMIN, Role.DEPLOYER),
        (Role.ADMIN, Role.ADMIN),
    }


@pytest.mark.parametrize("needed", Role)
def test_who_shows_no_token_has_no_role(needed: Role) -> None:
    for caller in (Caller.stranger("10.0.0.9"), Caller.of_host("host-a", "10.0.0.9")):
        with pytest.raises(PermissionDeniedError, match=f"needs the role {needed.value}"):
            require(caller, needed)


# ---- the admin's token -----------------------------------------------------


async def test_the_first_start_writes_an_admin_token(tokens: Tokens, tmp_path: Path) -> None:
    file = tmp_path / "admin.token"
    await tokens.ensure_admin(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert (await tokens.check(file.read_text().strip())).role == "admin"


async def test_later_starts_keep_it(tokens: Tokens, store: SqlStore, tmp_path: Path) -> None:
    file = tmp_path / "admin.token"
    await tokens.ensure_admin(file)
    before = file.read_text()
    await tokens.ensure_admin(file)
    assert file.read_text() == before
    assert len(await store.tokens()) == 1


async def test_a_removed_file_means_another_admin_token(
    tokens: Tokens, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "admin.token"
    await tokens.ensure_admin(file)
    first = file.read_text().strip()
    file.unlink()
    await tokens.ensure_admin(file)
    second = file.read_text().strip()
    assert first != second
    assert (await tokens.check(first)).role == (await tokens.check(second)).role == "admin"
    assert str(file) in caplog.text
    assert second not in caplog.text


async def test_another_database_takes_the_token_of_the_file_in(
    tokens: Tokens, clock: HandClock, tmp_path: Path
) -> None:
    file = tmp_path / "admin.token"
    await tokens.ensure_admin(file)
    other_store = await SqlStore.open(f"sqlite+aiosqlite:///{tmp_path}/other.db")
    try:
        other = Tokens(other_store, clock, lambda: CA)
        await other.ensure_admin(file)
        assert (await other.check(file.read_text().strip())).role == "admin"
    finally:
        await other_store.close()


async def test_a_revoked_admin_token_stays_revoked(
    tokens: Tokens, store: SqlStore, clock: HandClock, tmp_path: Path
) -> None:
    file = tmp_path / "admin.token"
    await tokens.ensure_admin(file)
    await store.revoke_token((await store.tokens())[0].token_id, clock.wall)
    await tokens.ensure_admin(file)
    with pytest.raises(UnauthenticatedError, match="revoked"):
        await tokens.check(file.read_text().strip())


@pytest.mark.parametrize("content", [b"", b"ferryman-viewer-" + b"x" * 43, b"\xff\xfe"])
async def test_a_file_with_something_else_is_named_and_left_alone(
    tokens: Tokens, store: SqlStore, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "admin.token"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"admin\.token: holds no admin token; remove it"):
        await tokens.ensure_admin(file)
    assert file.read_bytes() == content
    assert await store.tokens() == []
