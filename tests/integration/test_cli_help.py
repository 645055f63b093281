"""Help and completion of the command line, and how little they load."""

from __future__ import annotations

import pytest

from tests.parts.command_line import piped
from tests.parts.shell import Shell


@pytest.mark.parametrize("which", ["bash", "zsh", "fish"])
def test_completion_prints_the_script_of_the_shell(shell: Shell, which: str) -> None:
    said = shell("completion", which)
    assert said.code == 0
    assert "_FERRYMAN_COMPLETE" in said.out


def test_completion_offers_the_commands() -> None:
    ended = piped(
        [], {"_FERRYMAN_COMPLETE": "bash_complete", "COMP_WORDS": "ferryman ro", "COMP_CWORD": "1"}
    )
    assert ended.out.strip() == "plain,rollback"


def test_help_and_version_load_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys; from coordinator.cli.main import run; assert run(['--help']) == 0;"
        "heavy = {'aiohttp', 'rich', 'pydantic', 'asyncio', 'sqlalchemy', 'cryptography'};"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "LOADED []"
    assert all(word in done.stdout for word in ("deploy", "rollback", "discover", "completion"))
