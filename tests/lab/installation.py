"""The project on a host as `docs/` tells an operator to install it: units, users, folders.

Programs are at /opt/ferryman/bin; what is installed is enabled but not started. With `clocks`
the daemons' wall clocks can be set, by `host.clock`. With `own_user` the agent is not root.
"""

from __future__ import annotations

from tests.lab import clock
from tests.lab.host import PROJECT, PYTHON, PYTHON_ENVIRONMENT, SystemdHost

WITHOUT_ROOT = {
    "ferryman-agent.conf": "/etc/systemd/system/ferryman-agent.service.d/without-root.conf",
    "50-ferryman-agent.rules": "/etc/polkit-1/rules.d/50-ferryman-agent.rules",
}
_PROGRAMS = {
    "ferryman": "coordinator.cli.main",
    "ferryman-agent": "agent.app",
    "ferryman-coordinator": "coordinator.daemon",
}


async def install_agent(
    host: SystemdHost, config: str, *, clocks: bool = False, own_user: bool = False
) -> None:
    """Install everything, with these settings for the agent."""
    await _install(host, clocks=clocks)
    host.write("/etc/ferryman/agent.toml", config, mode=0o600)
    if own_user:
        await _give_own_user(host)
    await enable(host, "ferryman-agent.service")


async def install_coordinator(host: SystemdHost, config: str, *, clocks: bool = False) -> None:
    """Install everything, with these settings for the coordinator."""
    await _install(host, clocks=clocks)
    host.files("/etc/ferryman/coordinator.toml").write_text(config)
    await enable(host, "ferryman-coordinator.service")


async def enable(host: SystemdHost, unit: str) -> None:
    """Have a unit started at every boot; also makes systemd read what is new."""
    await host.run("systemctl", "enable", "--quiet", unit)


async def _install(host: SystemdHost, *, clocks: bool) -> None:
    for program, module in _PROGRAMS.items():
        host.write(f"/opt/ferryman/bin/{program}", _starter(module), mode=0o755)
    shipped = PROJECT / "systemd"
    for file in sorted(shipped.glob("*.service")):
        host.write(f"/etc/systemd/system/{file.name}", file.read_text())
    for folder in ("sysusers.d", "tmpfiles.d"):
        host.write(f"/etc/{folder}/ferryman.conf", (shipped / folder / "ferryman.conf").read_text())
    await host.run("systemd-sysusers")
    await host.run("systemd-tmpfiles", "--create", "ferryman.conf")
    if clocks:
        settable = clock.install(host.files("/"))
        for unit in ("ferryman-agent.service", "ferryman-coordinator.service"):
            await host.drop_in(unit, "clock", settable)


async def _give_own_user(host: SystemdHost) -> None:
    for name, place in WITHOUT_ROOT.items():
        host.write(place, (PROJECT / "systemd/without-root" / name).read_text())
    await host.run("install", "-d", "-o", "ferryman-agent", "/srv/user-service")
    await host.run("chgrp", "ferryman-agent", "/etc/ferryman", "/etc/ferryman/agent.toml")
    await host.run("chmod", "640", "/etc/ferryman/agent.toml")


def _starter(module: str) -> str:
    code = f"import sys; from {module} import main; sys.exit(main())"
    exports = " ".join(f"{name}={value}" for name, value in PYTHON_ENVIRONMENT.items())
    return f"#!/bin/sh\nexport {exports}\nexec {PYTHON} -c '{code}' \"$@\"\n"
