"""A small real HTTP service as a package, in healthy and broken versions.

`/healthz` answers 200 when the service is well; `/` answers the version that serves.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.parts.packages import Content, tar_gz

_SERVER = """\
#!{python} -IS
import http.server, os, sys, threading, time

VERSION, HEALTHY, CRASH_AFTER = {version!r}, {healthy!r}, {crash_after!r}
WELL_WHILE = {well_while!r}


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        well = self.path != "/healthz" or HEALTHY and (not WELL_WHILE or os.path.exists(WELL_WHILE))
        body = VERSION.encode() if well else b"database unreachable"
        self.send_response(200 if well else 500)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    allow_reuse_address = True
    daemon_threads = True


if CRASH_AFTER is not None:
    def crash():
        time.sleep(CRASH_AFTER)
        print("fatal: out of ideas", file=sys.stderr, flush=True)
        os._exit(3)
    threading.Thread(target=crash, daemon=True).start()

Server(({address!r}, int(os.environ["PORT"])), Answer).serve_forever()
"""


def service_package(
    version: str,
    *,
    healthy: bool = True,
    crash_after: float | None = None,
    well_while: Path | None = None,
    ballast: bytes = b"",
    python: str = sys.executable,
    address: str = "127.0.0.1",
) -> bytes:
    """A `.tar.gz` whose `bin/server` is this version of the service.

    With `well_while` it is healthy only while that file exists. It is run by `python` and
    listens on `address`, on the port that the variable `PORT` says.
    """
    script = _SERVER.format(
        python=python,
        address=address,
        version=version,
        healthy=healthy,
        crash_after=crash_after,
        well_while=str(well_while or ""),
    )
    files: dict[str, Content] = {
        "bin/server": (script.encode(), 0o755),
        "VERSION": version.encode(),
    }
    if ballast:
        files["ballast.bin"] = ballast
    return tar_gz(files)


_SLEEPER = """\
#!/bin/sh
echo "{version} $$" >>"{starts}/$FERRYMAN_INSTANCE_ID"
exec sleep 86400
"""


def sleeper_package(version: str, starts: Path) -> bytes:
    """A `.tar.gz` of a service that only sleeps: it costs next to nothing, so many may run.

    Each start adds a line with version and pid to the file `starts`/INSTANCE_ID.
    """
    script = _SLEEPER.format(version=version, starts=starts)
    return tar_gz({"bin/server": (script.encode(), 0o755), "VERSION": version.encode()})


_ODD = """\
#!{python} -IS
import http.server, itertools, os, shutil, signal, sys, threading, time

VERSION, PORT, ELSEWHERE = {version!r}, int(os.environ["PORT"]), {elsewhere!r}
SPOIL = {spoil!r}


def note():
    start = open("/proc/self/stat").read().rpartition(")")[2].split()[19]
    with open({notes!r} + os.environ["PORT"], "a") as file:
        file.write(VERSION + " " + str(os.getpid()) + " " + start + "\\n")


def say(text):
    print(text, flush=True)


def health():
    return 200


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(health() if self.path == "/healthz" else 200)
        self.send_header("Content-Length", str(len(VERSION)))
        self.end_headers()
        self.wfile.write(VERSION.encode())

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


def listening(port):
    return Server(({address!r}, port), Answer)


note()
{behaviour}
listening(PORT).serve_forever()
"""


def odd_package(
    version: str,
    behaviour: str = "",
    *,
    notes: str,
    elsewhere: int = 0,
    spoil: str = "",
    mode: int = 0o755,
    python: str = sys.executable,
    address: str = "127.0.0.1",
) -> bytes:
    """A `.tar.gz` of the service that first does `behaviour`: lines of Python.

    They may redefine `health`, use `say`, `listening`, the port `ELSEWHERE` and the shell
    command `SPOIL`, and never end. Each process that calls `note` (the first does) adds
    version, pid and start time to the file in the folder `notes` that is named by its port.
    """
    script = _ODD.format(
        python=python,
        version=version,
        notes=f"{notes}/",
        elsewhere=elsewhere,
        spoil=spoil,
        behaviour=behaviour,
        address=address,
    )
    return tar_gz({"bin/server": (script.encode(), mode), "VERSION": version.encode()})
