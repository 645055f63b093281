"""What holds for every test: the usual signals, and on CI nothing may be skipped."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

import pytest


def pytest_configure() -> None:
    """Let programs that the tests start hear Ctrl-C, whoever started the tests without it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that take longest, so that no worker is left alone with them."""
    here = Path(__file__).parent
    longest = (here / "e2e", here / "lab")
    items.sort(key=lambda item: not any(item.path.is_relative_to(folder) for folder in longest))


@pytest.fixture(scope="module", autouse=True)
def _out_of_later_searches() -> None:
    """Leave what there is already out of every later search for garbage.

    Agents give memory back after each package, which searches all of their process. Those that run
    in a test's process would stop it for as long as all that the tests are made of takes.
    """
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run where a skip would hide a missing tool."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not os.environ.get("CI"):
        return
    if skipped := reporter.stats.get("skipped", []):
        reporter.write_line(f"{len(skipped)} tests were skipped; on CI none may be", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
