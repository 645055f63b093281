"""`ferryman-coordinator`: the command line. What runs is `coordinator.running`.

Without a command it is the daemon. Each command's libraries are loaded only for it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from protocol import __version__
from protocol.errors import FerrymanError
from protocol.settings import SettingsError
from protocol.weakness import NOT_CHECKED


def main(argv: Sequence[str] | None = None) -> None:
    """Run the daemon until SIGTERM or SIGINT, or one command to its end.

    Exits 1 with one line if that can't be.
    """
    options = _arguments(argv)
    try:
        program = _program(options)
    except ModuleNotFoundError as missing:
        sys.exit(
            f"ferryman-coordinator: {missing.name} is not installed; the coordinator needs the "
            "extra: pip install 'ferryman[coordinator]'"
        )
    program()


def _program(options: argparse.Namespace) -> Callable[[], None]:
    """What to run; the base install lacks the libraries of all of it."""
    if options.command == "backup":
        from coordinator.backup import backup  # noqa: PLC0415

        return lambda: _tell(
            lambda: backup(
                options.file,
                config=options.config,
                data_dir=options.data_dir,
                force=options.force,
            )
        )
    if options.command == "restore":
        from coordinator.restore import restore  # noqa: PLC0415

        return lambda: _tell(
            lambda: restore(options.file, config=options.config, data_dir=options.data_dir)
        )
    if options.command == "check":
        from coordinator.weaknesses import check  # noqa: PLC0415

        return lambda: _check(lambda: check(options.config, options.data_dir))
    from coordinator.running import run  # noqa: PLC0415

    return lambda: run(options.config, options.data_dir, options.listen)


def _tell(work: Callable[[], str]) -> None:
    """Run a command and print what it did."""
    try:
        print(work())
    except (SettingsError, FerrymanError) as error:
        sys.exit(f"ferryman-coordinator: {error}")
    except KeyboardInterrupt:
        sys.exit("ferryman-coordinator: interrupted")


def _check(look: Callable[[], int]) -> NoReturn:
    """Look for what is weak, and exit with what came of it."""
    try:
        sys.exit(look())
    except SettingsError as error:
        print(f"ferryman-coordinator: {error}", file=sys.stderr)
        sys.exit(NOT_CHECKED)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="ferryman-coordinator",
        description="The coordinator: it needs nothing but a folder; the first start fills it.",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file")
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="database and certificates")
    parser.add_argument("--listen", metavar="HOST:PORT", help="default 127.0.0.1:7420")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", title="commands", description="Instead of the daemon:"
    )
    backup = _about_file(
        commands, "backup", "Write all that a coordinator needs to go on to one file, while it runs"
    )
    backup.add_argument("--force", action="store_true", help="replace a file that is there")
    _about_file(commands, "restore", "Put a backup in the place of what is there, which is kept")
    _command(commands, "check", "Print what is weak in the settings, files and tokens, a line each")
    return parser.parse_args(argv)


def _about_file(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, does: str
) -> argparse.ArgumentParser:
    """A command about FILE."""
    parser = _command(commands, name, does)
    parser.add_argument("file", type=Path, metavar="FILE", help="the backup")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, does: str
) -> argparse.ArgumentParser:
    """A command whose settings stand before or after its name."""
    parser = commands.add_parser(name, help=does, description=f"{does}.")
    for flag, what, text in (
        ("--data-dir", "DIR", "database and certificates; default /var/lib/ferryman"),
        ("--config", "FILE", "the coordinator's TOML file"),
    ):
        parser.add_argument(flag, type=Path, metavar=what, default=argparse.SUPPRESS, help=text)
    return parser
