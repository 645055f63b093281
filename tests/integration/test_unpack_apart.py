"""The second wall: who unpacks a package has no rights, and is not believed."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from agent import landlock, walls
from agent.package_bytes import Arriving
from agent.pipe import AbortedError
from agent.refused import RefusedError
from agent.unpack_apart import unpack_apart
from agent.walls import UnpackUser
from tests.lab.needs import need_programs, need_root
from tests.parts.packages import Content, Folder, HardLink, Link, sha256, tar, tar_gz
from tests.parts.stranger import STRANGER
from tests.parts.waiting import until

FILES: dict[str, Content] = {
    "bin/server": (b"#!/bin/sh\n", 0o755),
    "bin/second": HardLink("bin/server"),
    "lib/data": b"x" * 300_000,
    "run": Link("bin/server"),
    "spare": Folder(),
}


@pytest.fixture(params=["as another user", "as the agent's own"])
def user(request: pytest.FixtureRequest) -> UnpackUser | None:
    if request.param == "as the agent's own":
        return None
    need_root("becoming another user")
    return STRANGER


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "staging"
    made.mkdir()
    return made


def arriving(data: bytes) -> Arriving:
    pieces = iter([data[at : at + 100_000] for at in range(0, len(data), 100_000)])
    return Arriving(lambda: next(pieces, b""))


def statuses(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    for path in sorted(folder.rglob("*")):
        yield str(path.relative_to(folder)), path.lstat()


def test_the_tree_is_the_agents_own_with_two_modes_and_the_digest_is_its_own_too(
    folder: Path, user: UnpackUser | None
) -> None:
    data = tar_gz(FILES)
    package = arriving(data)
    entries = unpack_apart(package, len(data), folder, user)
    assert package.digest == sha256(data)
    assert {entry.path for entry in entries} == {name for name, _ in statuses(folder)}
    assert {(now.st_uid, now.st_gid) for _, now in statuses(folder)} == {
        (os.geteuid(), os.getegid())
    }
    modes = {name: stat.S_IMODE(now.st_mode) for name, now in statuses(folder)}
    assert modes == {
        "bin": 0o755,
        "bin/second": 0o755,
        "bin/server": 0o755,
        "lib": 0o755,
        "lib/data": 0o644,
        "run": 0o777,
        "spare": 0o755,
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_refusal_comes_back_with_its_reason(folder: Path, user: UnpackUser | None) -> None:
    data = tar({"fine": b"x", "../evil\x1b": b"x"})
    with pytest.raises(RefusedError, match=r"package refused: .*'../evil\\x1b'") as refusal:
        unpack_apart(arriving(data), len(data), folder, user)
    assert refusal.value.message.isprintable()


def in_the_child(user: UnpackUser | None, folder: Path, code: str, before: str = "") -> str:
    """Let a process give up what the unpacking one gives up, then do this; what it said."""
    program = (
        "import os, signal, socket\n"
        "from agent.limits import LIMITS\n"
        "from agent.walls import UnpackUser, give_up\n"
        f"folder = os.open({str(folder)!r}, os.O_RDONLY)\n"
        f"os.fchdir(folder)\n{before}\ngive_up({user!r}, folder, LIMITS)\n{code}\n"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=False
    )
    return ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "attempt",
    [
        "open({outside!r}, 'w')",
        "open({outside!r})",
        "os.listdir({parent!r})",
        "os.chmod({outside!r}, 0o777)",
        "os.chown({outside!r}, 0, 0)",
        "os.link({outside!r}, 'stolen')",
        "os.rename('kept', {outside!r} + '2')",
        "os.mkfifo('fifo')",
        "os.mknod('device', 0o020666, os.makedev(1, 3))",
        "os.kill({pid}, signal.SIGCONT)",
        "socket.socket().connect(('127.0.0.1', {port}))",
        "os.setuid(0) if os.getuid() else os.setgroups([1])",
    ],
)
def test_who_unpacks_can_do_nothing_elsewhere(
    tmp_path: Path, folder: Path, user: UnpackUser | None, attempt: str
) -> None:
    if landlock.version() < 6:
        pytest.skip("needs Landlock of Linux 6.12")
    if user is None:
        need_root("giving up root")
    outside = tmp_path / "outside"
    outside.write_text("secret")
    (folder / "kept").write_text("x")
    folder.chmod(0o777)
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = attempt.format(
            outside=str(outside),
            parent=str(tmp_path),
            pid=os.getpid(),
            port=server.getsockname()[1],
        )
        said = in_the_child(user, folder, f"{code}\nprint('it could')")
    assert "Error" in said, said
    assert outside.read_text() == "secret"
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644
    assert [path.name for path in folder.iterdir()] == ["kept"]


def test_it_can_start_no_process_that_outlives_it(folder: Path) -> None:
    need_root("becoming another user")
    assert "BlockingIOError" in in_the_child(STRANGER, folder, "os.fork()\nprint('it could')")


def test_it_has_no_capability_and_no_way_to_get_one(folder: Path, user: UnpackUser | None) -> None:
    said = in_the_child(
        user, folder, "print(open_before.read())", "open_before = open('/proc/self/status')"
    )
    lines = dict(
        line.split(":\t") for line in said.splitlines() if line[:3] in ("Cap", "NoN", "Uid")
    )
    assert (lines["CapPrm"], lines["CapEff"], lines["CapInh"]) == ("0" * 16,) * 3
    assert lines["NoNewPrivs"] == "1"
    uid = user.uid if user else os.geteuid()
    assert lines["Uid"].split() == [str(uid)] * 4


class Endless:
    """A package that goes on and on until it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.given_up = False
        self._head = tar({"large": b"x" * 1_000_000})[:500_000]

    def take(self) -> bytes:
        head, self._head = self._head, b""
        self.begun.set()
        while not head and not self.given_up:
            threading.Event().wait(0.01)
        self.check()
        return head

    def check(self) -> None:
        if self.given_up:
            raise AbortedError


async def test_a_package_that_is_given_up_ends_the_child(
    folder: Path, user: UnpackUser | None
) -> None:
    endless, errors = Endless(), []

    def work() -> None:
        try:
            unpack_apart(Arriving(endless.take), None, folder, user, check=endless.check)
        except AbortedError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    await until(lambda: len(unpackers(os.getpid())) == 1)
    await until(lambda: any(folder.iterdir()))
    endless.given_up = True
    thread.join(10)
    assert len(errors) == 1
    assert unpackers(os.getpid()) == []


def unpackers(pid: int) -> list[psutil.Process]:
    children = psutil.Process(pid).children()
    return [child for child in children if "agent.unpacker" in child.cmdline()]


def an_agent(folder: Path, user: UnpackUser | None, package: bytes) -> subprocess.Popen[bytes]:
    """A process that has the package unpacked, and waits for more of it for ever."""
    code = (
        "import sys, threading\nfrom pathlib import Path\n"
        "from agent.package_bytes import Arriving\nfrom agent.unpack_apart import unpack_apart\n"
        "from agent.walls import UnpackUser\nbegin = iter([sys.stdin.buffer.read()])\n"
        "take = lambda: next(begin, b'') or threading.Event().wait()\n"
        f"unpack_apart(Arriving(take), None, Path({str(folder)!r}), {user!r})\n"
    )
    agent = subprocess.Popen([sys.executable, "-P", "-c", code], stdin=subprocess.PIPE)
    assert agent.stdin
    with agent.stdin as end:
        end.write(package)
    return agent


async def test_the_child_dies_with_the_agent(folder: Path, user: UnpackUser | None) -> None:
    agent = an_agent(folder, user, tar({"large": b"x" * 1_000_000})[:500_000])
    await until(lambda: any(folder.iterdir()))
    (child,) = unpackers(agent.pid)
    agent.send_signal(signal.SIGKILL)
    agent.wait()
    await until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_a_child_that_can_not_give_up_its_rights_unpacks_nothing(folder: Path) -> None:
    need_root("becoming another user")
    need_programs("setpriv")
    code = (
        "from pathlib import Path\n"
        "from agent.package_bytes import Arriving\nfrom agent.unpack_apart import unpack_apart\n"
        "from agent.walls import UnpackUser\n"
        f"package = iter([{tar({'fine': b'x'})!r}])\n"
        f"folder = Path({str(folder)!r})\n"
        f"unpack_apart(Arriving(lambda: next(package, b'')), None, folder, {STRANGER})"
    )
    ran = subprocess.run(
        ["setpriv", "--bounding-set=-setuid,-setgid", sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "packages can't be unpacked without root's rights: Operation not perm" in ran.stderr
    assert list(folder.iterdir()) == []


def test_what_is_missing_on_a_host_is_told() -> None:
    missing = " ".join(walls.weaknesses())
    lacks_user = os.geteuid() == 0 and walls.unpack_user() is None
    assert ("ferryman-unpack" in missing) == lacks_user
    assert ("Landlock" in missing) == (landlock.version() == 0)


@pytest.mark.parametrize("deeply", [1, 1900])
def test_whatever_who_unpacks_left_behind_is_removed(folder: Path, deeply: int) -> None:
    """By a root that may not do what modes forbid, as under the shipped unit."""
    need_root("becoming another user")
    need_programs("setpriv")
    folder.chmod(0o777)
    dig = f"[(os.mkdir('d'), os.chdir('d')) for _ in range({deeply})]; os.chmod('.', 0)"
    assert "Error" not in in_the_child(STRANGER, folder, dig)
    code = (
        "from pathlib import Path\nfrom agent.releases import _try_to_remove\n"
        f"print(_try_to_remove(Path({str(folder)!r})))"
    )
    some = "--bounding-set=-all,+chown,+kill,+setuid,+setgid"
    ran = subprocess.run(
        ["setpriv", some, sys.executable, "-P", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "[]\n"
    assert not folder.exists()
