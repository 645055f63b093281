"""Every command of the three programs, in both outputs; some on a terminal, too.

`ARGUMENTS` has a row for each command that the table of permissions knows. What changes the
fleet is run by the scenes that it belongs to, everything else at the end.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping, Sequence

from coordinator.permissions import COMMANDS
from tests.e2e.canary.planted import Run
from tests.parts.command_line import on_terminal, piped
from tests.parts.daemons import BIN

NOTHING: Sequence[Sequence[str]] = ((),)
DEPLOY = ("user-service", "v3", "--package-url", "-")

ARGUMENTS: Mapping[str, Sequence[Sequence[str]]] = {
    "deploy": (
        (*DEPLOY, "--instances", "nobody"),
        (*DEPLOY, "--instances", "instance-1", "--plan"),
        (*DEPLOY, "--instances", "instance-1", "--wait", "--retry-count", "0"),
    ),
    "status": (("deploy-1",), ("deploy-3",), ()),
    "timeline": (("deploy-1",), ("deploy-3",)),
    "cancel": (("deploy-1",),),
    "pause": (("deploy-1",),),
    "resume": (("deploy-1",),),
    "promote": (("deploy-1",),),
    "retry": (("deploy-1",),),
    "why": (("deploy-1",), ("deploy-3",), ("instance-1",)),
    "strategies": NOTHING,
    "prefetch": (
        ("user-service", "v3", "--package-url", "-", "--instances", "instance-1", "--wait"),
    ),
    "ready": (("user-service",),),
    "release pin": (("user-service", "v3"),),
    "release list": NOTHING,
    "release unpin": (("user-service", "v3"),),
    "rollback": (
        ("--instance", "nobody", "v1", "--package-url", "-"),
        ("user-service", "v1", "--instances", "instance-2", "--package-url", "-", "--wait"),
    ),
    "versions": (("user-service",), ("user-service", "--at", "2026-01-01T00:00Z")),
    "instances": (("user-service",),),
    "history": (("instance-1",),),
    "services": NOTHING,
    "hosts": NOTHING,
    "host list": NOTHING,
    "host approve": (("host-b",),),
    "host reject": (("host-b",),),
    "host revoke": (("host-b",),),
    "instance release": (("instance-3",),),
    "health": NOTHING,
    "stats": NOTHING,
    "discover": (("--for", "1s"),),
    "simulate": NOTHING,
    "token create": (("--role", "nobody"),),
    "token list": NOTHING,
    "token revoke": (("nobody",),),
    "authority status": NOTHING,
    "authority begin": NOTHING,
    "authority switch": NOTHING,
    "authority finish": NOTHING,
    "authority abort": NOTHING,
    "authority bundle": NOTHING,
    "audit": (("--since", "1h", "--limit", "1000"), ("--verify",)),
    "completion": (("bash",),),
}
"""What follows a command's name, once for each way to run it."""

ON_TERMINAL = ("status", "timeline", "instances", "hosts", "token list", "audit")


async def ask_by(run: Run, *names: str) -> None:
    """Run these commands in every way; refusals come with tracebacks."""
    for name in names:
        run.asked.add(name)
        for arguments in ARGUMENTS[name]:
            words = (*name.split(), *arguments)
            await asyncio.gather(*(_ask(run, name, output, words) for output in ("table", "json")))


async def _ask(run: Run, name: str, output: str, words: Sequence[str]) -> None:
    environment = run.system.coordinator.environment() | {"FERRYMAN_DEBUG": "1"}
    given = ("-o", output, *words)
    ended = await asyncio.to_thread(piped, given, environment, told=run.signed("v3"))
    run.see(f"ferryman {name}", ended.out + ended.err)


async def ask_by_all_commands(run: Run) -> None:
    """Run those that no scene has run, and those of the daemons."""
    await make_a_token(run)
    await ask_by(run, *(name for name in COMMANDS if name not in run.asked))
    where = run.system.coordinator.environment()
    for name in ON_TERMINAL:
        words = (*name.split(), *ARGUMENTS[name][0])
        shown = await asyncio.to_thread(on_terminal, words, where)
        run.see(f"ferryman {name} on a terminal", shown.out)
    await ask_the_daemons(run)


async def make_a_token(run: Run) -> None:
    """The one command whose output is a secret: the rest of it is not."""
    words = ("token", "create", "--role", "viewer", "--name", "by-command")
    made = await asyncio.to_thread(piped, words, run.system.coordinator.environment())
    secret = made.out.split()[-1]
    run.know_token("a command's token", secret)
    run.see("ferryman token create", made.out.replace(secret, "") + made.err)


async def ask_the_daemons(run: Run) -> None:
    """The commands of the daemons, and a second daemon in each folder."""
    backup, data = run.system.folder / "backup", str(run.system.coordinator.data_dir)
    restored, config = run.system.folder / "restored", str(run.agent.config)
    for argv in (
        ["ferryman-coordinator", "check", "--data-dir", data],
        ["ferryman-coordinator", "backup", str(backup), "--data-dir", data],
        ["ferryman-coordinator", "restore", str(backup), "--data-dir", str(restored)],
        ["ferryman-coordinator", "--data-dir", data],
        ["ferryman-agent", "check", "--config", config],
        ["ferryman-agent", "--config", config],
    ):
        program = [str(BIN / argv[0]), *argv[1:]]
        done = await asyncio.to_thread(
            subprocess.run, program, capture_output=True, timeout=60, check=False
        )
        run.see(" ".join(argv[:2]), done.stdout + done.stderr)
    assert backup.exists()
    assert (restored / "coordinator.db").exists()
