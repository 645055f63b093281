"""`ferryman-coordinator check`: what is weak in a coordinator's settings, files and tokens.

It only reads, needs no lock, and works while the daemon runs. What it can't know: networks,
firewalls, and who has a copy of a token.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path

from cryptography import x509
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from coordinator.backup_file import MODES
from coordinator.config import Settings, load_settings
from coordinator.data_dir import (
    ADMIN_TOKEN,
    BESIDE_DATABASE,
    DATABASE,
    NEEDED,
    refuse_if_half_restored,
    sqlite_file,
)
from protocol.endpoints import is_address, is_loopback
from protocol.settings import SettingsError
from protocol.weakness import OTHERS, Weakness, ending, owned, readable, report, writable

AUTHORITY_EARLY = timedelta(days=365)
SERVER_EARLY = timedelta(days=30)
"""How long before its end a certificate is weak."""

OLD = timedelta(days=365)
"""A token of people or programs that is older should be replaced."""

UNUSED = timedelta(days=90)
"""A token that nobody used for so long is not needed."""

LONG_JOIN = timedelta(days=7)
"""A join token that still lives so long lets hosts in long after it is needed."""

VERIFYING = ("verify-ca", "verify-full")
AUTHORITIES = ("ssl_ca", "ssl_capath")
"""What a database's URL says, as its driver calls it, for TLS that looks at the certificate."""

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - what is warned of


def check(config: Path | None = None, data_dir: Path | None = None) -> int:
    """Print what is weak; return the exit code. Raises `SettingsError` if it can't look."""
    settings = load_settings(config, data_dir)
    return report(weaknesses(settings, config, datetime.now(UTC)))


def weaknesses(settings: Settings, config: Path | None, now: datetime) -> list[Weakness]:
    """All that is weak at the moment `now`. Raises `SettingsError`."""
    folder = settings.data_dir
    if not folder.is_dir():
        raise SettingsError(f"data_dir: {folder} is not there: no coordinator has started on it")
    refuse_if_half_restored(folder)
    url, file = _url(settings), sqlite_file(settings.database_url)
    return list(
        chain(
            _of_config(url, file, config),
            _of_database(url),
            _of_needed(folder, file),
            _of_folder(folder, file),
            _of_certificates(settings, now),
            _of_address(settings),
            _of_tokens(settings, now),
        )
    )


def _url(settings: Settings) -> URL:
    """The database's. Raises `SettingsError`, which does not show it: it may hold a password."""
    try:
        return make_url(settings.database_url)
    except (ArgumentError, ValueError):
        raise SettingsError("database_url: not an SQLAlchemy URL") from None


def _of_config(url: URL, file: Path | None, config: Path | None) -> Iterator[Weakness]:
    if config is None:
        return
    yield from writable(config, "where everything is kept")
    if file is None and url.password:
        yield from readable(config, OTHERS)


def _of_database(url: URL) -> Iterator[Weakness]:
    """A database of another machine has to show who it is."""
    asked = url.normalized_query
    verifies = {*asked.get("ssl", ()), *asked.get("sslmode", ())} & set(VERIFYING)
    if verifies or any(name in asked for name in AUTHORITIES):
        return
    for host in sorted(_hosts(url)):
        yield Weakness(
            "database_url",
            f"{host} is another machine, and no TLS checks that it is the database: who is in "
            "between reads and changes everything",
            "add ssl=verify-full, or what its driver has for that",
        )


def _hosts(url: URL) -> set[str]:
    """The other machines that a URL names; a path is a socket of this one."""
    named = [url.host or "", *",".join(url.normalized_query.get("host", ())).split(",")]
    hosts = {one if is_address(one) else one.partition(":")[0] for one in named}
    return {one for one in hosts if one and not one.startswith("/") and not is_loopback(one)}


def _of_needed(folder: Path, database: Path | None) -> Iterator[Weakness]:
    """What a coordinator that has started can't do without; a folder without any is new."""
    needed = [folder / name for name in NEEDED if name != DATABASE]
    needed += [database] if database else []
    gone = [file for file in needed if not _is_there(file)]
    for file in gone if len(gone) < len(needed) else ():
        yield Weakness(
            str(file),
            "it is not there, and others of the coordinator's files are",
            "put it back from a backup before the next start",
        )


def _is_there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError as error:
        raise SettingsError(f"{file}: cannot be looked at: {error.strerror or error}") from None


def _of_folder(folder: Path, database: Path | None) -> Iterator[Weakness]:
    mode = folder.stat().st_mode & 0o777
    if mode & 0o077:
        what = f"others than its owner can look into it (mode {mode:04o})"
        yield Weakness(str(folder), what, f"chmod 0700 {folder}")
    if folder.stat().st_uid == 0:
        yield Weakness(
            str(folder),
            "it belongs to root, so the coordinator runs as root, which it never needs",
            "run it as a user of its own, as the shipped unit does",
        )
    secrets = {folder / name for name, wanted in MODES.items() if wanted == 0o600}
    secrets |= set(folder.glob("*.key")) | {folder / name for name in BESIDE_DATABASE}
    secrets |= {database} if database else set()
    for secret in sorted(secrets):
        yield from readable(secret)
        yield from owned(secret, {folder.stat().st_uid}, "who is let in")
    for old in sorted(folder.glob("replaced-*")):
        yield Weakness(
            str(old),
            "an earlier state with its keys and tokens, kept by a restore",
            "remove it, once the restored coordinator does its work",
        )


def _of_certificates(settings: Settings, now: datetime) -> Iterator[Weakness]:
    folder, company = settings.data_dir, settings.tls.company
    yield from _of_certificate(folder / "ca.pem", now, AUTHORITY_EARLY, "make a new authority")
    yield from _of_certificate(folder / "server.pem", now, SERVER_EARLY, "restart the coordinator")
    if company is not None:
        certificate, key = company
        for name, file in (("certificate", certificate), ("key", key)):
            if not _is_there(file):
                yield Weakness(f"tls.{name}: {file}", "it is not there", "put it there")
        yield from _of_certificate(certificate, now, SERVER_EARLY, "get a new one")
        yield from readable(key)


def _of_certificate(file: Path, now: datetime, early: timedelta, remedy: str) -> Iterator[Weakness]:
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
    except FileNotFoundError:
        return
    except OSError as error:
        raise SettingsError(f"{file}: cannot be read: {error.strerror or error}") from None
    except ValueError:
        yield Weakness(str(file), "not a certificate in PEM", "put it back from a backup")
        return
    yield from ending(file, certificate.not_valid_after_utc, now, early, remedy)


def _of_address(settings: Settings) -> Iterator[Weakness]:
    if settings.host in EVERYWHERE:
        yield Weakness(
            "listen",
            f"{settings.listen} is every network that this machine is on",
            "name the one address that hosts and people use",
        )
        if not settings.tls.names and settings.tls.company is None:
            yield Weakness(
                "tls.names",
                "no name but the machine's own is in the certificate, so that people use addresses",
                "add the name by which people and programs know the coordinator",
            )


def _of_tokens(settings: Settings, now: datetime) -> Iterator[Weakness]:
    database = sqlite_file(settings.database_url)
    if database is None or not _is_there(database):
        return
    try:
        for row in _tokens(database):
            yield from _of_token(row, now)
    except sqlite3.Error as error:
        raise SettingsError(f"{database}: its tokens can't be read: {error}") from None


def _tokens(database: Path) -> list[sqlite3.Row]:
    query = (
        "SELECT token_id, role, name, created_at, expires_at, last_used_at FROM tokens "
        "WHERE revoked_at IS NULL ORDER BY seq"
    )
    # Without a log nobody has it open, and looking must not make one.
    how = "mode=ro" if Path(f"{database}-wal").exists() else "immutable=1"
    with closing(sqlite3.connect(f"{database.as_uri()}?{how}", uri=True, timeout=30)) as rows:
        rows.row_factory = sqlite3.Row
        return rows.execute(query).fetchall()


def _of_token(row: sqlite3.Row, now: datetime) -> Iterator[Weakness]:
    created, ends, used = (
        _moment(row[name]) for name in ("created_at", "expires_at", "last_used_at")
    )
    if ends is not None and ends <= now:
        return
    own = row["name"] == ADMIN_TOKEN
    where = f"token {row['token_id']} ({row['role']}{', ' + row['name'] if row['name'] else ''})"
    revoke = f"ferryman token revoke {row['token_id']}"
    if row["role"] == "join":
        if ends is None or ends - now > LONG_JOIN:
            until = f"until {ends:%Y-%m-%d}" if ends else "for ever"
            yield Weakness(where, f"it lets hosts join {until}", f"{revoke}, or make shorter ones")
        return
    if created is not None and now - created > OLD:
        another = f"remove {ADMIN_TOKEN} and restart the coordinator" if own else "make another"
        yield Weakness(where, f"it was made on {created:%Y-%m-%d}", f"{another}, then {revoke}")
    elif ends is None and not own:
        yield Weakness(where, "it never expires", "make one with --ttl, then " + revoke)
    last = used or created
    if last is not None and now - last > UNUSED and not own:
        yield Weakness(where, f"nobody used it since {last:%Y-%m-%d}", revoke)


def _moment(microseconds: int | None) -> datetime | None:
    if microseconds is None:
        return None
    return datetime.fromtimestamp(microseconds / 1e6, UTC)
