"""The log: one line an event, whatever is quoted in it."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable

import pytest

from protocol.logs import LONGEST_MESSAGE, LONGEST_TRACEBACK, JsonLine, TextLine

FORGED = "ERROR coordinator.hub: the fleet is gone"
NASTY = [
    f"a\n{FORGED}",
    f"a\r{FORGED}",
    f"a\r\n{FORGED}",
    f"a\x0b{FORGED}",
    f"a\x0c{FORGED}",
    f"a\x85{FORGED}",
    f"a\u2028{FORGED}",
    f"a\u2029{FORGED}",
    f"a\x1b[1A\x1b[2K{FORGED}",
    f"a\x9b2K{FORGED}",
    f"a\x08\x08\x08{FORGED}",
    f"a\x00{FORGED}",
    f"a\u202e{FORGED}",
    f"a\udcff{FORGED}",
    "a" * 1_000_000,
    "\n" * 1_000_000,
    "%s %d %n {0} {{",
]


@pytest.fixture(params=[TextLine, JsonLine])
def written(request: pytest.FixtureRequest) -> Callable[[Callable[[logging.Logger], None]], str]:
    """What a logger with this format writes."""

    def write(say: Callable[[logging.Logger], None]) -> str:
        out = io.StringIO()
        handler = logging.StreamHandler(out)
        handler.setFormatter(request.param())
        log = logging.Logger("tests.logs")
        log.addHandler(handler)
        say(log)
        return out.getvalue()

    return write


Written = Callable[[Callable[[logging.Logger], None]], str]


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_whatever_is_quoted_is_one_line_of_plain_characters(written: Written, text: str) -> None:
    line = written(lambda log: log.warning("host %s was refused", text))
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert len(line) < 2 * LONGEST_MESSAGE
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_a_traceback_is_in_the_same_line(written: Written, text: str) -> None:
    def fail(log: logging.Logger) -> None:
        try:
            raise RuntimeError(text)
        except RuntimeError:
            log.exception("unexpected error in %s", text)

    line = written(fail)
    assert line[:-1].isprintable()
    assert len(line.splitlines()) == 1
    assert "RuntimeError" in line or len(text) > LONGEST_TRACEBACK
    assert len(line) < LONGEST_MESSAGE + 4 * LONGEST_TRACEBACK


def test_text_names_level_and_module(written: Written) -> None:
    line = written(lambda log: log.warning("it is %s", "so"))
    if line.startswith("{"):
        event = json.loads(line)
        assert event.pop("time").endswith("Z")
        assert event == {"level": "warning", "module": "tests.logs", "message": "it is so"}
    else:
        assert line == "WARNING tests.logs: it is so\n"


ENDS_BADLY = """
import sys, threading, warnings
from protocol.logs import LogSettings, log_to_stderr, write_as

SAID = "a\\nERROR coordinator.hub: the fleet is gone\\x1b[1A\\x9b2K\\r\\u2028"

class Fails:
    def __del__(self):
        raise ValueError(SAID)

def fail():
    raise RuntimeError(SAID)

log_to_stderr()
write_as(LogSettings(format=sys.argv[1]))
warnings.warn(SAID)
Fails()
for work in (fail, sys.exit):
    thread = threading.Thread(target=work, name=SAID)
    thread.start()
    thread.join()
fail()
"""


@pytest.mark.parametrize("layout", ["text", "json"])
def test_what_nobody_foresaw_is_one_line_an_event_too(layout: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ENDS_BADLY, layout], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    lines = ended.stderr.removesuffix("\n").split("\n")
    assert all(line.isprintable() for line in lines), lines
    told = [
        ("WARNING", "py.warnings", "UserWarning"),
        ("ERROR", "protocol.logs", "passed over"),
        ("CRITICAL", "protocol.logs", "ends the thread a\\nERROR"),
        ("CRITICAL", "protocol.logs", "ends the process"),
    ]
    assert len(lines) == len(told), lines
    for line, (level, module, message) in zip(lines, told, strict=True):
        said = line.replace("\\\\", "\\")
        assert message in said
        assert "a\\nERROR coordinator.hub" in said
        if layout == "text":
            assert line.startswith(f"{level} {module}: ")
        else:
            event = json.loads(line)
            assert (event["level"], event["module"]) == (level.lower(), module)
            assert ("Error" in event.get("traceback", "")) is (level != "WARNING")
