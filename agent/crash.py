"""What runs beside everything else and fails by a mistake of ours is not lost: it is logged."""

from __future__ import annotations

import asyncio
import logging

log = logging.getLogger(__name__)


def log_crash(job: asyncio.Task[None]) -> None:
    """Log what nobody expected; to be called when the task has ended."""
    if not job.cancelled() and job.exception() is not None:
        log.error("an assignment ended unexpectedly", exc_info=job.exception())
