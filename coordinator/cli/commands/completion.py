"""`ferryman completion`: the script that makes a shell complete commands and options."""

from __future__ import annotations

import os
from pathlib import PurePath

import click

from coordinator.cli.output import say

SHELLS = ("bash", "zsh", "fish")


@click.command("completion", short_help="Print the completion script for a shell.")
@click.argument("shell", type=click.Choice(SHELLS), required=False)
@click.pass_context
def completion(context: click.Context, shell: str | None) -> None:
    """Print the completion script for a shell; without SHELL for the one in use.

    \b
    bash:  eval "$(ferryman completion bash)"     in ~/.bashrc
    zsh:   eval "$(ferryman completion zsh)"      in ~/.zshrc
    fish:  ferryman completion fish | source      in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    shell = shell or PurePath(os.environ.get("SHELL", "")).name
    made = get_completion_class(shell) if shell in SHELLS else None
    if made is None:
        raise click.UsageError(f"say which shell: {', '.join(SHELLS)}")
    say(made(context.find_root().command, {}, "ferryman", "_FERRYMAN_COMPLETE").source())


COMMAND = completion
