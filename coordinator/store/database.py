"""One database: its connections, its transactions, and what differs between databases.

Rules: one write at a time, each a whole transaction that a cancelled caller doesn't
interrupt; reads run beside it, each on one unchanging picture. What the database raises
because it can't work becomes `UnavailableError`. What is stored is none of its business.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Executable, Row, Table, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from protocol.errors import UnavailableError

T = TypeVar("T")

_CONNECTIONS = 5
_OUR_MISTAKES = (IntegrityError, ProgrammingError, DataError)


class Database:
    """Connections to one database. Opening it connects to nothing yet."""

    def __init__(self, url: str, busy_timeout: float = 5.0) -> None:
        """`busy_timeout` is how many seconds a write waits for another process's.

        Raises UnavailableError if there is no driver for the URL.
        """
        self._engine = _engine(url, busy_timeout)
        self._writing = self._engine.execution_options(ferryman_writes=True)
        self._one_writer = asyncio.Lock()
        self._under_way: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def close(self) -> None:
        """Let the writes under way finish and close every connection."""
        self._closed = True
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._engine.dispose()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads."""
        self._refuse_if_closed()
        with translated():
            async with self._engine.connect() as connection:
                yield connection

    async def rows(self, statement: Executable) -> Sequence[Row[*tuple[Any, ...]]]:
        """All rows of one query."""
        async with self.reading() as connection:
            return (await connection.execute(statement)).all()

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run `work` in a transaction of its own and commit it; nothing of it stays if it raises.

        A caller that is cancelled meanwhile leaves it to finish.
        """
        self._refuse_if_closed()
        task = asyncio.create_task(self._write(work))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def _write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        async with self._one_writer:
            with translated():
                async with self._writing.begin() as connection:
                    return await work(connection)

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise UnavailableError("database: closed")


@contextmanager
def translated() -> Iterator[None]:
    """Turn what a database raises because it can't work into `UnavailableError`."""
    try:
        yield
    except _OUR_MISTAKES:
        raise
    except DBAPIError as error:
        raise UnavailableError(f"database: {error.orig}") from error
    except PoolTimeoutError as error:
        raise UnavailableError("database: all connections are busy") from error
    except OSError as error:
        raise UnavailableError(f"database: {error}") from error


def upsert(dialect: str, table: Table) -> Executable:
    """An insert that replaces the row with the same primary key."""
    keys = [column.name for column in table.primary_key]
    kept = [column.name for column in table.columns if column.name not in keys]
    insert = postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    return insert.on_conflict_do_update(
        index_elements=keys, set_={name: insert.excluded[name] for name in kept}
    )


def _engine(url: str, busy_timeout: float) -> AsyncEngine:
    try:
        engine = create_async_engine(
            url, pool_size=_CONNECTIONS, max_overflow=0, hide_parameters=True
        )
    except (SQLAlchemyError, ImportError) as error:
        raise UnavailableError(f"database: the URL can't be used: {error}") from error
    if engine.dialect.name == "sqlite":
        _make_sqlite_durable(engine, busy_timeout)
    return engine


def _make_sqlite_durable(engine: AsyncEngine, busy_timeout: float) -> None:
    """WAL with FULL, so that no power cut loses a commit; writes take their lock at BEGIN."""

    @event.listens_for(engine.sync_engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        with ExitStack() as on_failure:
            on_failure.callback(connection.close)
            connection.isolation_level = None
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {round(busy_timeout * 1000)}")
            cursor.execute("PRAGMA journal_mode = WAL")
            cursor.execute("PRAGMA synchronous = FULL")
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.close()
            on_failure.pop_all()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("ferryman_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
