"""A coordinator's and an agent's folder to be looked at by `check`, made weak by the tests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent.config import load_config
from agent.weaknesses import weaknesses as agents
from coordinator.config import load_settings
from coordinator.weaknesses import weaknesses as coordinators
from tests.parts.signing import Signer

NOW = datetime.now(UTC)
HEAD = f"""
packages = {{ trusted_keys = ["{Signer().public}"], allowed_hosts = ["packages.example.com"] }}
"""
INSTANCE = """
[[instances]]
id = "one"
service = "user-service"
driver = "process"
command = ["./bin/server"]
"""


@dataclass
class Place:
    """Copies of a coordinator's and an agent's folders, with configurations beside them."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def coordinator_toml(self) -> Path:
        return self.folder / "coordinator.toml"

    @property
    def agent_toml(self) -> Path:
        return self.folder / "agent.toml"

    def coordinator(self, later: timedelta = timedelta(0)) -> list[str]:
        settings = load_settings(self.coordinator_toml)
        return [str(one) for one in coordinators(settings, self.coordinator_toml, NOW + later)]

    def agent(self, later: timedelta = timedelta(0)) -> list[str]:
        config = load_config(self.agent_toml)
        return [str(one) for one in agents(config, self.agent_toml, NOW + later)]

    def declare(self, instances: str = INSTANCE, head: str = HEAD) -> None:
        """Write the agent's settings."""
        self.agent_toml.write_text(f'state_dir = "{self.state}"\n{head}\n{instances}')

    def add(self, text: str) -> None:
        """Add to the agent's settings."""
        self.agent_toml.write_text(self.agent_toml.read_text() + text)
