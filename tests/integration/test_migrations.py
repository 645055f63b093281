"""What opening a database does: bring it up to date, or refuse it and leave it as it is."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from coordinator.ports import Changes, EventRow
from coordinator.store import SchemaError, SqlStore
from coordinator.store.database import Database
from coordinator.store.migrate import config, migrate
from coordinator.store.tables import metadata
from protocol.errors import UnavailableError

HEAD = ScriptDirectory.from_config(config()).get_current_head()
EVENT = EventRow(datetime(2026, 3, 1, tzinfo=UTC), "task", {})


def url(path: Path) -> str:
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "coordinator.db"


def revision(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


async def opened_once(path: Path) -> None:
    store = await SqlStore.open(url(path))
    await store.commit(Changes(events=[EVENT]))
    await store.close()


def stored_in(folder: Path) -> dict[str, bytes]:
    """All that is stored there. `-shm` is only the memory that connections share."""
    files = [file for file in folder.iterdir() if file.is_file() and file.suffix != ".db-shm"]
    return {file.name: file.read_bytes() for file in files if file.stat().st_size}


def overwrite(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(content)


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


async def refused(path: Path, error: type[Exception], match: str) -> None:
    """Opening `path` is refused, and its folder stays as it is to the byte."""
    before = stored_in(path.parent)
    with pytest.raises(error, match=match):
        await SqlStore.open(url(path))
    assert stored_in(path.parent) == before


async def test_an_empty_folder_gets_the_newest_schema(path: Path) -> None:
    await opened_once(path)
    assert revision(path) == HEAD


async def test_the_migrations_lead_to_the_tables_that_the_code_uses(path: Path) -> None:
    await opened_once(path)
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


async def test_opening_again_keeps_everything(path: Path) -> None:
    await opened_once(path)
    await opened_once(path)
    store = await SqlStore.open(url(path))
    assert [event.seq for event in await store.events_after(0)] == [1, 2]
    await store.close()


async def test_every_connection_is_durable(path: Path) -> None:
    await migrate(url(path))
    database = Database(url(path))
    async with database.reading() as one, database.reading() as other:
        for connection in (one, other):
            found = {}
            for pragma in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout"):
                answer = await connection.exec_driver_sql(f"PRAGMA {pragma}")
                found[pragma] = answer.scalar_one()
            assert found == {
                "journal_mode": "wal",
                "synchronous": 2,
                "foreign_keys": 1,
                "busy_timeout": 5000,
            }
    await database.close()


async def test_two_stores_share_one_file(path: Path) -> None:
    one = await SqlStore.open(url(path))
    other = await SqlStore.open(url(path))
    await asyncio.gather(
        *(store.commit(Changes(events=[EVENT])) for store in (one, other) for _ in range(10))
    )
    assert await one.last_event() == await other.last_event() == 20
    await one.close()
    await other.check()
    await other.close()


def _open_in_a_process(path: Path, start: multiprocessing.synchronize.Barrier) -> None:
    start.wait()
    asyncio.run(opened_once(path))


async def test_coordinators_that_start_at_once_migrate_one_after_the_other(path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(3)
    processes = [spawn.Process(target=_open_in_a_process, args=(path, start)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        await asyncio.to_thread(process.join)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    store = await SqlStore.open(url(path))
    assert await store.last_event() == 3
    await store.close()


# ---- refused, and left as it is ----------------------------------------------


async def test_a_newer_schema_is_refused_and_named(path: Path) -> None:
    await opened_once(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    command = f"ferryman-coordinator restore BACKUP --data-dir {path.parent}"
    await refused(path, SchemaError, f"9999.*knows up to {HEAD}.*put a backup back: {command}")
    assert revision(path) == "9999"


async def test_a_newer_schema_that_a_killed_coordinator_left_is_refused(
    path: Path, tmp_path: Path
) -> None:
    """The newest pages are still in the write-ahead log, beside the file."""
    await opened_once(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
        copy = tmp_path / "copy" / path.name
        copy.parent.mkdir()
        for name in (path.name, f"{path.name}-wal"):
            shutil.copy(path.with_name(name), copy.with_name(name))
    before = stored_in(copy.parent)
    with pytest.raises(SchemaError, match="9999"):
        await SqlStore.open(url(copy))
    after = stored_in(copy.parent)
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(
    "content", [b"this is not a database\n" * 500, b"\0" * 8192, b"SQLite format 3\0" * 1000]
)
async def test_a_file_that_is_no_database_is_refused(path: Path, content: bytes) -> None:
    os.close(os.open(path, os.O_CREAT))
    overwrite(path, 0, content)
    await refused(path, SchemaError, "damaged or not a SQLite database.*nothing was changed")


async def test_a_truncated_database_is_refused(path: Path) -> None:
    await opened_once(path)
    cut_in_half(path)
    await refused(path, SchemaError, "damaged")


async def test_a_database_with_overwritten_pages_is_refused(path: Path) -> None:
    await opened_once(path)
    overwrite(path, 3 * 4096, b"\xa5" * (2 * 4096))
    await refused(path, SchemaError, "damaged")


async def test_the_database_of_another_program_is_refused(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    await refused(path, SchemaError, r"not Ferryman's \(recipes\)")


async def test_a_folder_in_the_place_of_the_file_is_refused(path: Path) -> None:
    os.mkdir(path)
    await refused(path, UnavailableError, "database: .*coordinator.db")


async def test_a_missing_folder_is_named_as_unavailable(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="unable to open"):
        await SqlStore.open(url(tmp_path / "missing" / "coordinator.db"))


@pytest.mark.parametrize(
    "wrong", ["nonsense", "oracle+nothing://x", "sqlite:///x.db", "sqlite+aiosqlite://"]
)
async def test_a_url_that_cannot_be_used_is_refused(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnavailableError, match="the URL can't be used"):
        await SqlStore.open(wrong)
    assert os.listdir(tmp_path) == []


# ---- faults on the way ---------------------------------------------------------


async def test_a_first_start_that_was_cut_off_is_finished_by_the_next(
    path: Path, tmp_path: Path
) -> None:
    """The file of a crash in the middle of a write, its journal not rolled back yet."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE half (content BLOB)")
        connection.executemany("INSERT INTO half VALUES (?)", [(b"x" * 4000,)] * 50)
        crashed = tmp_path / "crashed" / path.name
        crashed.parent.mkdir()
        for name in (path.name, f"{path.name}-journal"):
            shutil.copy(path.with_name(name), crashed.with_name(name))
    await opened_once(crashed)
    assert revision(crashed) == HEAD


async def test_a_locked_database_is_unavailable_and_works_again_afterwards(path: Path) -> None:
    store = await SqlStore.open(url(path), busy_timeout=0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="database: database is locked"):
            await store.commit(Changes(events=[EVENT]))
        assert await store.last_event() == 0
        other.execute("ROLLBACK")
    await store.commit(Changes(events=[EVENT]))
    assert await store.last_event() == 1
    await store.close()


async def _fill_a_small_disk(path: Path) -> None:
    import resource

    store = await SqlStore.open(url(path))
    await store.commit(Changes(events=[EVENT]))
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (256 * 1024, allowed[1]))
    big = EventRow(EVENT.at, "task", {"text": "x" * 300_000})
    with pytest.raises(UnavailableError, match="database: "):
        await store.commit(Changes(events=[EVENT, big]))
    resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    await store.commit(Changes(events=[EVENT]))
    assert [event.seq for event in await store.events_after(0)] == [1, 2]
    await store.close()


def _in_a_process(path: Path) -> None:
    asyncio.run(_fill_a_small_disk(path))


async def test_a_commit_that_finds_no_space_leaves_nothing_and_later_ones_work(path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_in_a_process, args=(path,))
    process.start()
    await asyncio.to_thread(process.join)
    assert process.exitcode == 0


def test_a_database_is_for_its_owner_only_whatever_made_it(tmp_path: Path) -> None:
    file = tmp_path / "own.db"
    before = os.umask(0o022)
    try:
        for _ in range(2):
            asyncio.run(migrate(f"sqlite+aiosqlite:///{file}"))
            assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
            file.chmod(0o644)
    finally:
        os.umask(before)
