"""The entry point of `ferryman`: global flags, the commands, and one exit code for each end.

No traceback reaches a user unless `FERRYMAN_DEBUG=1` asks for it.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import TextIO

import click

from coordinator.cli.commands import (
    audit,
    authority,
    cancel,
    completion,
    deploy,
    discover,
    health,
    history,
    host,
    hosts,
    instance,
    instances,
    pause,
    prefetch,
    promote,
    ready,
    release,
    resume,
    retry,
    rollback,
    services,
    simulate,
    stats,
    status,
    strategies,
    timeline,
    token,
    versions,
    why,
)
from coordinator.cli.output import note
from coordinator.cli.session import FORMATS, Session
from coordinator.cli.text import safe
from protocol import __version__
from protocol.errors import FerrymanError

INTERRUPTED = 130
UNEXPECTED = 1


class InOrder(click.Group):
    """A group that lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names as they were added."""
        return list(self.commands)


@click.group(
    "ferryman",
    cls=InOrder,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--url", help="The coordinator: https://HOST:PORT.  [FERRYMAN_URL]")
@click.option("--token", help="An access token.  [FERRYMAN_TOKEN]")
@click.option("--ca-file", metavar="FILE", help="The coordinator's ca.pem.  [FERRYMAN_CA_FILE]")
@click.option("-o", "--output", type=FORMATS, default="table", help="How to print the result.")
@click.version_option(__version__, prog_name="ferryman", message="%(prog)s %(version)s")
@click.pass_context
def ferryman(
    context: click.Context, url: str | None, token: str | None, ca_file: str | None, output: str
) -> None:
    """Deploy and roll back services on your own hosts.

    What no flag and no environment variable gives is read from
    ~/.config/ferryman/config.toml (url, token, ca_file).

    \b
    Exit codes: 0 done · 1 unexpected · 2 invalid request · 3 not found · 4 not allowed
    5 the task failed · 6 it was cancelled · 7 conflict · 8 unavailable
    9 waited long enough · 130 interrupted
    """
    context.obj = Session(url=url, token=token, ca_file=ca_file, output=output)


for _module in (
    deploy,
    status,
    why,
    timeline,
    cancel,
    pause,
    resume,
    promote,
    retry,
    rollback,
    prefetch,
    versions,
    instances,
    history,
    ready,
    services,
    strategies,
    hosts,
    host,
    instance,
    release,
    health,
    stats,
    simulate,
    discover,
    token,
    authority,
    audit,
    completion,
):
    ferryman.add_command(_module.COMMAND)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; None means the process's arguments."""
    try:
        code = ferryman.main(args=arguments, prog_name="ferryman", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except FerrymanError as error:
        return _ended(error, safe(error.message), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        note("ferryman: interrupted")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  the outermost edge
        said = f"unexpected: {type(error).__name__}: {safe(error)} (FERRYMAN_DEBUG=1 tells more)"
        return _ended(error, said, UNEXPECTED)
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run the process's command line and end the process.

    A stream that the caller closed is written to nowhere: a deployment is no less done for it.
    """
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    raise SystemExit(run())


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


def _ended(error: Exception, message: str, code: int) -> int:
    if os.environ.get("FERRYMAN_DEBUG") == "1":
        traceback.print_exception(error)
    note(f"ferryman: {message}")
    return code
