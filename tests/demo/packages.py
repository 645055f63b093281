"""The demo's package server: a process of its own, so that it can be stopped and outlive it.

    python -m tests.demo.packages FOLDER PORT

Serves the packages that lie in FOLDER at the start, and `ready` on stdout tells that it
does. Its authority is made at the first start and kept there, beside its certificate.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import trustme

from tests.parts.daemons import Daemon, free_port
from tests.parts.package_server import PackageServer
from tests.parts.service import service_package

SERVICE = "user-service"
CA_FILE = "packages-ca.pem"


class PackageDaemon(Daemon):
    """The process, and what it serves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        folder.mkdir()
        argv = [sys.executable, "-m", "tests.demo.packages", str(folder), str(self.port)]
        super().__init__(argv, folder.parent / "packages.log")

    @property
    def ca_file(self) -> Path:
        return self.folder / CA_FILE

    def put(self, version: str, *, healthy: bool = True, ballast: bytes = b"") -> None:
        """Write a version of the service, to be served from the next start on."""
        package = service_package(version, healthy=healthy, ballast=ballast)
        (self.folder / _name(version)).write_bytes(package)

    def url(self, version: str) -> str:
        return f"https://127.0.0.1:{self.port}/{_name(version)}"

    async def start(self) -> None:
        await super().start()
        await self.heard_ready()


def _name(version: str) -> str:
    return f"{SERVICE}-{version}.tar.gz"


def _authority(folder: Path) -> trustme.CA:
    kept = folder / "authority.key"
    if not kept.exists():
        made = trustme.CA()
        kept.touch(mode=0o600)
        made.private_key_pem.write_to_path(kept)
        made.cert_pem.write_to_path(folder / CA_FILE)
        return made
    return trustme.CA.from_pem((folder / CA_FILE).read_bytes(), kept.read_bytes())


async def _serve(folder: Path, port: int) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with _server(folder, port):
        print("package server ready", flush=True)
        await stopped.wait()


def _server(folder: Path, port: int) -> PackageServer:
    server = PackageServer(folder, _authority(folder), port=port)
    for package in folder.glob("*.tar.gz"):
        server.put(package.name, package.read_bytes())
    return server


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
