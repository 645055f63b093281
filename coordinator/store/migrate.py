"""Bringing a database's schema up to date at start, in one transaction.

Rules: a database that is newer, damaged or something else's is refused with a
`SchemaError` and left as it is, byte for byte; nothing is ever replaced, and the message
says how to put a backup back. Two
coordinators that start at once migrate one after the other. There is no way down.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import NullPool

from coordinator.data_dir import restore_command
from coordinator.store.database import Database
from protocol.errors import UnavailableError
from protocol.settings import SettingsError

_SCRIPTS = "coordinator.store:migrations"


class SchemaError(SettingsError):
    """The database is newer, damaged or something else's; it was left as it is."""


async def migrate(url: str, busy_timeout: float = 5.0) -> None:
    """Make the schema of the database at `url` the newest one.

    Raises SchemaError if what is there can't be used, UnavailableError if it can't be reached.
    """
    place = _place(url)
    file = _sqlite_file(place)
    database = Database(url, busy_timeout)

    async def work(connection: AsyncConnection) -> None:
        await connection.run_sync(_upgrade, place.render_as_string())

    try:
        if file is not None:
            await asyncio.to_thread(examine, file)
            await asyncio.to_thread(_keep_to_owner, file)
        await database.write(work)
    finally:
        await database.close()


def config() -> Config:
    """Alembic's configuration: made in code, so that no file has to be found."""
    made = Config()
    made.set_main_option("script_location", _SCRIPTS)
    return made


def _place(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError as error:
        raise UnavailableError(f"database: the URL can't be used: {error}") from error


def _sqlite_file(place: URL) -> Path | None:
    if place.get_backend_name() != "sqlite":
        return None
    if place.database in (None, "", ":memory:"):
        raise UnavailableError("database: the URL can't be used: it names no file")
    return Path(str(place.database))


def _keep_to_owner(file: Path) -> None:
    """Shut the database to others, whatever the umask: it holds addresses with secrets in them.

    SQLite gives its log the same mode. What can't be done here, opening it tells better.
    """
    parts = [file, *(file.with_name(f"{file.name}{end}") for end in ("-wal", "-shm", "-journal"))]
    with contextlib.suppress(OSError):
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        for part in parts:
            if part.exists() and part.stat().st_mode & 0o077:
                part.chmod(0o600)


def _upgrade(connection: Connection, place: str) -> None:
    scripts = ScriptDirectory.from_config(config())
    if _checked_revision(connection, place) == scripts.get_current_head():
        return
    alembic = config()
    alembic.attributes["connection"] = connection
    command.upgrade(alembic, "head")


def _checked_revision(connection: Connection, place: str, advice: str = "") -> str | None:
    """The schema's revision, None for an empty database. Raises SchemaError for any other."""
    found = MigrationContext.configure(connection).get_current_heads()
    scripts = ScriptDirectory.from_config(config())
    known = [script.revision for script in scripts.walk_revisions()]
    if not found:
        others = [name for name in inspect(connection).get_table_names() if "alembic" not in name]
        if others:
            raise SchemaError(
                f"{place} holds tables that are not Ferryman's ({', '.join(others[:5])}); "
                "nothing was changed; name an empty database"
            )
        return None
    if len(found) > 1 or found[0] not in known:
        raise SchemaError(
            f"{place} has the schema revision {', '.join(found)}, and this version of Ferryman "
            f"knows up to {scripts.get_current_head()}; nothing was changed; "
            f"start the version that wrote it, or a newer one{advice and f'; or {advice}'}"
        )
    return found[0]


def examine(
    file: Path, *, shown: Path | None = None, advice: str = "", thorough: bool = False
) -> str | None:
    """Return the revision of a SQLite file's schema, None for an empty or missing one.

    Only a journal that a crash left is rolled back. Raises SchemaError for a file that is
    damaged or whose schema is not known, UnavailableError if it can't be read. They name
    `shown` instead of `file` if that is given, and `advice` instead of how to restore.
    `thorough` looks at the indexes, too.
    """
    shown = shown or file
    advice = advice or (
        f"put a backup back: {restore_command(shown.parent)}; if there is none, move it "
        "and its -wal away to begin anew"
    )
    check = "integrity_check(1)" if thorough else "quick_check(1)"
    try:
        fault, revision = _look_carefully(file, check, shown, advice)
    except DBAPIError as error:
        if _code(error) not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise UnavailableError(f"database: {shown}: {error.orig}") from error
        fault, revision = str(error.orig), None
    if fault != "ok":
        raise SchemaError(
            f"{shown} is damaged or not a SQLite database ({fault.splitlines()[-1]}); "
            f"nothing was changed; {advice}"
        )
    return revision


def _look_carefully(file: Path, check: str, shown: Path, advice: str) -> tuple[str, str | None]:
    try:
        return _look(file, "ro" if file.exists() else "rwc", check, shown, advice)
    except DBAPIError as error:
        if _code(error) != sqlite3.SQLITE_READONLY:
            raise
    return _look(file, "rw", check, shown, advice)  # a crash left a journal to be rolled back


def _look(file: Path, mode: str, check: str, shown: Path, advice: str) -> tuple[str, str | None]:
    """What SQLite's check says, and the schema's revision if it says "ok"."""
    uri = f"{file.absolute().as_uri()}?mode={mode}"
    engine = create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(uri, uri=True), poolclass=NullPool
    )
    with engine.connect() as connection:
        fault = str(connection.exec_driver_sql(f"PRAGMA {check}").scalar_one())
        if fault != "ok":
            return fault, None
        return fault, _checked_revision(connection, str(shown), advice)


def _code(error: DBAPIError) -> int:
    """SQLite's primary result code."""
    return int(getattr(error.orig, "sqlite_errorcode", 0)) & 0xFF
