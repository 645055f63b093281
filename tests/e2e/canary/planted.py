"""Which secrets there are: those that a test can choose, and those that the daemons make.

The second kind becomes known in the course of a run, and is added to it then.
"""

from __future__ import annotations

import re
import secrets
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.conftest import System
from tests.parts.canary import private_part, token_part
from tests.parts.daemons import AgentDaemon

CHOSEN = ("environment", "health-query", "signature", "elsewhere", "wrong")
SECRETS = {name: f"canary-{name}-{secrets.token_hex(8)}" for name in CHOSEN}
"""Those that a test can choose, new in each run."""


@dataclass
class Run:
    """The system, the secrets as they become known, and what was seen, as places and bytes."""

    system: System
    stack: AsyncExitStack
    """Closes what a scene has opened."""
    agents: list[AgentDaemon]
    secrets: dict[str, str]
    seen: list[tuple[str, bytes]] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    """Tokens of people by their role."""
    asked: set[str] = field(default_factory=set)
    """The commands of `ferryman` that were run."""

    @property
    def agent(self) -> AgentDaemon:
        """The one that came in by a join token, and has a secret in its environment."""
        return self.agents[0]

    def see(self, place: str, text: str | bytes) -> None:
        self.seen.append((place, text.encode() if isinstance(text, str) else text))

    def signed(self, version: str, secret: str = SECRETS["signature"]) -> str:
        return f"{self.system.packages.url(f'user-service-{version}.tar.gz')}?sig={secret}&v=1"

    def know_key(self, name: str, file: Path) -> None:
        """Search for this private key, too."""
        found = private_part(file.read_text())
        assert found not in self.secrets.values(), f"{name} is no new key"
        self.secrets[name] = found

    def know_token(self, name: str, token: str) -> None:
        """Search for this token, too."""
        self.secrets[name] = token_part(token)


async def planted(system: System, stack: AsyncExitStack) -> Run:
    """A system of one host with all the secrets that a start makes."""
    extra = {"environment.PASSWORD": SECRETS["environment"]}
    one = system.http_instance("instance-1", extra=extra)
    checked = dict(one.health) | {
        "http": f"{one.health['http']}?key={SECRETS['health-query']}",
        "timeout": 4,
    }
    one.health = checked
    agent = await system.agent("host-a", one, "instance-2")
    agent.config.chmod(0o600)
    run = Run(system, stack, [agent], dict(SECRETS))
    joined = re.search(r'join_token = "([^"]+)"', agent.config.read_text())
    assert joined
    run.know_token("join token", joined[1])
    run.know_token("admin token", system.coordinator.token)
    run.know_key("agent's key", agent.state_dir / "agent.pem")
    for name in ("ca", "server"):
        run.know_key(f"{name} key", system.coordinator.data_dir / f"{name}.key")
    return run
