"""How both daemons log: one line an event to stderr, where systemd's journal takes it.

Whatever an event quotes, and a traceback, too, is escaped and cut, so that nobody who is
quoted can forge a second event or move a terminal's cursor. What nobody foresaw is such an
event as well: an error that ends the process or a thread, one that Python passes over, a
warning. Nothing here knows secrets.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from protocol.lines import one_line

_log = logging.getLogger(__name__)

LONGEST_MESSAGE = 4_096
LONGEST_TRACEBACK = 16_384
"""Characters; a traceback's end is what counts, so its beginning is cut."""

QUIETER = {
    "aiohttp.server": logging.CRITICAL,
    "aiosqlite": logging.INFO,
    "alembic": logging.WARNING,
    "zeroconf": logging.ERROR,
}
"""Libraries that report as news what is ordinary (each migration, each missing interface, with a
traceback each request that is no HTTP), or what is nobody's business: each value that goes into
the database. What fails in our own code is logged by it."""


class LogSettings(BaseModel):
    """`[log]`: how events are written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["text", "json"] = Field(
        "text", description='"text" (LEVEL module: message) or "json" (an object a line)'
    )


class TextLine(logging.Formatter):
    """`LEVEL module: message`."""

    def format(self, record: logging.LogRecord) -> str:
        """One event."""
        return f"{record.levelname} {record.name}: " + " | ".join(
            part for part in (_message(record), _traceback(record)) if part
        )


class JsonLine(logging.Formatter):
    """An object with `time`, `level`, `module`, `message` and, of a fault, `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        """One event."""
        at = datetime.fromtimestamp(record.created, UTC)
        event = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "module": record.name,
            "message": _message(record),
        }
        if told := _traceback(record):
            event["traceback"] = told
        return json.dumps(event)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send the process's log to stderr, and what Python itself would write there."""
    handler = logging.StreamHandler()
    handler.setFormatter(TextLine())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for chatty, least in QUIETER.items():
        logging.getLogger(chatty).setLevel(max(level, least))
    logging.captureWarnings(True)
    sys.excepthook = _ends_the_process
    sys.unraisablehook = _passed_over
    threading.excepthook = _ends_a_thread


def write_as(settings: LogSettings) -> None:
    """Write all further events as the settings say."""
    made = JsonLine() if settings.format == "json" else TextLine()
    for handler in logging.getLogger().handlers:
        handler.setFormatter(made)


def _message(record: logging.LogRecord) -> str:
    return one_line(record.getMessage(), LONGEST_MESSAGE)


def _traceback(record: logging.LogRecord) -> str:
    if not record.exc_info:
        return ""
    told = logging.Formatter().formatException(record.exc_info)
    return one_line(told[-LONGEST_TRACEBACK:], 2 * LONGEST_TRACEBACK)


def _ends_the_process(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    _log.critical("unforeseen: ends the process", exc_info=(kind, error, trace))


def _ends_a_thread(told: threading.ExceptHookArgs) -> None:
    if told.exc_type is not SystemExit:
        name = told.thread.name if told.thread else "that is gone"
        _log.critical("unforeseen: ends the thread %s", name, exc_info=told.exc_value)


def _passed_over(told: sys.UnraisableHookArgs) -> None:
    _log.error("unforeseen: passed over, as nobody can catch it", exc_info=told.exc_value)
