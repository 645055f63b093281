"""A real host: systemd as process 1 in a container of its own, over this machine's files.

It has this machine's programs, a disk and cgroups of its own, and a place at a switch. It
can lose its power, its network, its room on the disk and the right time. Whatever is made
here is unmade at the end, also when a test fails.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import sysconfig
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

from tests.lab import clock, faults
from tests.lab.cgroups import empty, halted, own_cgroups
from tests.lab.commands import LabError, Result, call
from tests.lab.disk import Disk, overlay
from tests.lab.network import Port, Switch, switch

PROJECT = Path(__file__).parents[2]
SOURCE = "/opt/ferryman-source"
_PACKAGES = "/opt/ferryman-packages"
_INTERPRETER = "/opt/ferryman-interpreter"
_VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
# A system's own Python is in the overlay anyway. Others may lie in a home or in /tmp, which a
# sandboxed service can't see.
_SYSTEM_PYTHON = sys.base_prefix == "/usr"
PYTHON = f"{'/usr' if _SYSTEM_PYTHON else _INTERPRETER}/bin/{_VERSION}"
PYTHON_ENVIRONMENT = {
    "PYTHONPATH": f"{SOURCE}:{_PACKAGES}",
    "PYTHONDONTWRITEBYTECODE": "1",
    # For an interpreter that looks for its own library where it was built.
    "LD_LIBRARY_PATH": f"{_INTERPRETER}/lib",
}

_UNNEEDED = (
    "console-getty.service",
    "getty.target",
    "systemd-logind.service",
    "systemd-update-utmp.service",
    "dev-hugepages.mount",
    "sys-fs-fuse-connections.mount",
)
_BOOT_SECONDS = 60.0
_CONTROL = "/var/lib/ferryman-agent/faults"
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
# Steps into the host's cgroups, then becomes nspawn, which dies with the test process.
_ENTER = """
while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit 1; shift; done
shift
exec setpriv --pdeathsig KILL "$@"
"""


class SystemdHost:
    """`async with SystemdHost("h1") as host:` boots it and powers it off.

    Hosts given the same `plugged_into` reach each other; otherwise a host is alone.
    """

    def __init__(self, name: str, plugged_into: Switch | None = None) -> None:
        self.name = name
        self._switch = plugged_into
        self._cleanup = AsyncExitStack()
        self._power = AsyncExitStack()
        self._groups: list[Path] = []
        self._port: Port | None = None
        self._disk = Disk(Path())
        self._leader = 0
        self._faults: faults.Faults | None = None

    @property
    def port(self) -> Port:
        """The host's place at the switch."""
        assert self._port is not None
        return self._port

    @property
    def address(self) -> str:
        """The host's address on its switch."""
        return self.port.address

    @property
    def powered(self) -> bool:
        """Whether it runs."""
        return bool(self._leader)

    def files(self, path: str) -> Path:
        """Where a file of the host can be read and written from outside.

        Not for /run, /tmp, /dev, /proc and /sys, which a running host mounts anew.
        """
        return self._disk.root / path.lstrip("/")

    async def __aenter__(self) -> SystemdHost:
        async with AsyncExitStack() as cleanup:
            if self._switch is None:
                self._switch = await cleanup.enter_async_context(switch())
            self._port = await cleanup.enter_async_context(self._switch.plugged())
            self._disk = await cleanup.enter_async_context(overlay(self.name))
            self._groups = cleanup.enter_context(own_cgroups(self._disk.base.name))
            _prepare(self._disk.root, self.name)
            cleanup.push_async_callback(self.power_off)
            await self.power_on()
            self._cleanup = cleanup.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._cleanup.aclose()

    async def run(
        self,
        *argv: str,
        check: bool = True,
        timeout: float = 60,
        environment: Mapping[str, str] | None = None,
    ) -> Result:
        """Run a command inside the host as root, in `/`."""
        return await call(
            *("nsenter", "-t", str(self._leader), "-a", "--", *argv),
            check=check,
            timeout=timeout,
            environment={**_ENVIRONMENT, **(environment or {})},
        )

    async def python(self, *arguments: str, timeout: float = 60) -> Result:
        """Run this test run's Python with the project inside the host."""
        return await self.run(PYTHON, *arguments, timeout=timeout, environment=PYTHON_ENVIRONMENT)

    async def drop_in(self, unit: str, name: str, text: str) -> None:
        """Add to a unit what holds from its next start."""
        self.write(f"/etc/systemd/system/{unit}.d/{name}.conf", text)
        await self.run("systemctl", "daemon-reload")

    async def install_unit(self, name: str, text: str) -> None:
        """Write a unit file and make systemd read it."""
        self.files(f"/etc/systemd/system/{name}").write_text(text)
        await self.run("systemctl", "daemon-reload")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the host, and make the folders above it."""
        target = self.files(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)

    async def power_off(self) -> None:
        """Pull the plug: SIGKILL to everything on the host at once; back when all is gone."""
        await self._power.aclose()

    async def power_on(self) -> None:
        """Boot it (again). What was written is there; /run and /tmp are new."""
        await self.power_off()
        self._leader = await self._power.enter_async_context(self._powered())
        await self._booted()

    async def cut_off(self, *others: SystemdHost) -> None:
        """Pull the network cable; or lose, both ways, what goes to and from `others` only."""
        if not others:
            await self.port.connect(False)
        for other in others:
            await self.port.lose(other.port)
            await other.port.lose(self.port)

    async def heal(self, *others: SystemdHost) -> None:
        """Plug the cable in again, and reach `others` again."""
        await self.port.connect(True)
        for other in others:
            await self.port.find(other.port)
            await other.port.find(self.port)

    async def fill_disk(self, leaving: int = 0) -> None:
        """Let no more than `leaving` bytes be free on its disk, all of it."""
        await self._disk.fill(leaving)

    async def free_disk(self) -> None:
        """Have room on the disk again."""
        await self._disk.free()

    def clock(self, wrong_by: timedelta) -> None:
        """Set the wall clock of its daemons (those installed with `clocks`) off by so much."""
        clock.set_wrong(self._disk.root, wrong_by)

    async def kill_at(
        self,
        call: str,
        number: int,
        unit: str = "ferryman-agent.service",
        *,
        below: str = "/",
    ) -> faults.Faults:
        """Restart a unit's daemon, and SIGKILL it before its `number`-th call from then on.

        `call` is a class of calls such as "rename"; number 0 only counts them. Calls on paths
        that do not begin with `below` are not counted.
        """
        if self._faults is None:
            library = faults.build(self.files("/opt"))
            self._faults = faults.Faults(self.files(_CONTROL), Path("/"))
            preload = f"LD_PRELOAD=/opt/{library.name} {faults.VARIABLE}={_CONTROL}"
            await self.drop_in(unit, "faults", f"[Service]\nEnvironment={preload}\n")
        self._faults.disarm()
        self._faults.below(Path(below))
        await self.run("systemctl", "restart", unit)
        self._faults.arm(faults.Calls[call.upper()], number, faults.Action.KILL)
        return self._faults

    @asynccontextmanager
    async def _powered(self) -> AsyncIterator[int]:
        """Run nspawn; yields the host's process 1, as this machine numbers it."""
        with self._disk.console.open("wb") as console:
            nspawn = await asyncio.create_subprocess_exec(
                *("/bin/sh", "-c", _ENTER, "lab", *map(str, self._groups), "--"),
                *_nspawn_command(self._disk.root, self.name, self.port.namespace),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )
        try:
            yield await self._find_leader(nspawn)
        finally:
            if self._leader:
                # Halted: otherwise others live on for a moment and see that process 1 is gone.
                async with halted(self._groups):
                    os.kill(self._leader, signal.SIGKILL)
                self._leader = 0
            try:
                async with asyncio.timeout(10):
                    await nspawn.wait()
            except TimeoutError:
                nspawn.kill()
                await nspawn.wait()
            empty(self._groups)

    async def _find_leader(self, nspawn: asyncio.subprocess.Process) -> int:
        children = Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children")
        try:
            async with asyncio.timeout(_BOOT_SECONDS):
                while nspawn.returncode is None:
                    for child in _reads(children).split():
                        if _reads(Path(f"/proc/{child}/comm")) == "systemd":
                            return int(child)
                    await asyncio.sleep(0.02)
        except TimeoutError:
            pass
        raise LabError(f"{self.name} has no process 1:\n{_reads(self._disk.console)}")

    async def _booted(self) -> None:
        state = ""
        try:
            async with asyncio.timeout(_BOOT_SECONDS):
                while state not in ("running", "degraded"):
                    await asyncio.sleep(0.05)
                    answer = await self.run("systemctl", "is-system-running", check=False)
                    state = answer.output.strip()
        except TimeoutError:
            raise LabError(f"{self.name} is {state}:\n{_reads(self._disk.console)}") from None


def _prepare(root: Path, name: str) -> None:
    """Make the overlay a host of its own: no identity, no name, none of our services."""
    (root / "etc/machine-id").write_text("")
    (root / "etc/hostname").write_text(f"{name}\n")
    units = root / "etc/systemd/system"
    for wants in units.glob("*.wants"):
        shutil.rmtree(wants)
    for unit in _UNNEEDED:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    for target in _binds():
        (root / target.lstrip("/")).mkdir(parents=True, exist_ok=True)


def _binds() -> dict[str, str]:
    """What the host gets of this test run, at fixed places: there → here."""
    binds = {SOURCE: str(PROJECT), _PACKAGES: sysconfig.get_path("purelib")}
    return binds if _SYSTEM_PYTHON else {**binds, _INTERPRETER: sys.base_prefix}


def _nspawn_command(root: Path, name: str, namespace: str) -> list[str]:
    return [
        "systemd-nspawn",
        "--quiet",
        f"--directory={root}",
        "--boot",
        "--register=no",
        "--keep-unit",
        "--console=pipe",
        "--link-journal=no",
        f"--machine={name}",
        f"--network-namespace-path=/run/netns/{namespace}",
        *(f"--bind-ro={here}:{there}" for there, here in _binds().items()),
        "--",
        "--unit=multi-user.target",
    ]


def _reads(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
