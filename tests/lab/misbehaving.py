"""The kinds of services that misbehave: how each is made, what it must tell, how it must end.

`KINDS` is the one list. Version v1 of every service is well; v2 has its kind's fault. A
`Case` says what a kind comes to on one driver; where a kind is only known to the other
driver, `instead` says what stands for it. Nothing here runs anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from tests.parts.packages import Content, tar_gz

HEALTHY_WITHIN = 12.0
"""Seconds that a service has to become healthy."""

STABLE = 1.5
"""Seconds that it must stay so; what ends after 1 s is noticed."""


class Ends(Enum):
    """How the deployment of v2 must end."""

    NEW = "v2 serves"
    OLD = "v1 was put back and serves"
    UNTOUCHED = "v1 serves and was never stopped"
    ERROR = "neither can run; both releases are kept"
    ERROR_WITHOUT_RELEASES = "neither can run, for the service removed both releases"


class Spoiled(Enum):
    """What happens to the host after v1 has started. `starter` is the unit or the command."""

    NOTHING = "nothing"
    STARTER_GONE = "the starter is removed"
    STARTER_BARRED = "the starter is masked, or may not be executed any more"
    USER_GONE = "the unit's user is none that the host has"
    PORT_SQUATTED = "somebody waits to take the port as soon as it is free"


@dataclass(frozen=True, slots=True)
class Case:
    """One kind on one driver. `tells` are patterns that the error message must have."""

    tells: tuple[str, ...] = ()
    ends: Ends = Ends.OLD
    spoiled: Spoiled = Spoiled.NOTHING
    wrapped: str = ""
    """Driver `process`: the command is a script of the operator's, which runs the release."""
    unit: tuple[str, ...] = ()
    """Driver `systemd`: further lines of the unit."""
    instead: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to misbehave. `behaviour` is what v2 does before it serves; see `odd_package`."""

    name: str
    process: Case
    systemd: Case
    behaviour: str = ""
    first: str = ""
    """What v1 does before it serves."""
    package: bytes = b""
    """v2 as a whole, where it is no program with a `behaviour`."""
    mode: int = 0o755

    def on(self, driver: str) -> Case:
        """What it comes to on a driver."""
        return self.systemd if driver == "systemd" else self.process


def _both(name: str, behaviour: str, *tells: str, ends: Ends = Ends.OLD, first: str = "") -> Kind:
    case = Case(tells, ends)
    return Kind(name, case, case, behaviour, first)


def _package(server: bytes | None) -> bytes:
    files: dict[str, Content] = {"README": b"version 2"}
    if server is not None:
        files["bin/server"] = (server, 0o755)
    return tar_gz(files)


SICK = r"(answered 500|no answer within \S+ s)"
"""Status 500; on a machine that is busy the last probe may have lacked the time to hear it."""

RUN = 'exec "$@"'
FOR_ANOTHER_PROCESSOR = bytes.fromhex("7f454c4602010100") + bytes(8) + b"\2\0\4\0" + bytes(100)
"""The head of a program for a 68000, as no lab runs on."""

_SPOIL_AND_END = """
say("I pull the ladder up")
os.system(SPOIL)
os._exit(1)
"""
_FORK_AWAY = """
say("going to the background")
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.chdir("/")
note()
"""
_LEAVE_A_HELPER = """
listener = listening(PORT)
if not os.fork():
    os.setsid()
    if os.fork():
        os._exit(0)
    note()
listener.serve_forever()
"""
_PRINT_100_MB = """
for _ in range(1600):
    sys.stdout.write("x" * 65535 + "\\n")
say("printed it all")
os._exit(1)
"""
_REMOVE = """
releases, own = os.path.split(os.getcwd())
for name in os.listdir(releases):
    if not name.startswith(".") and {which}:
        shutil.rmtree(os.path.join(releases, name))
say("swept the floor")
os._exit(1)
"""
_EAT_MEMORY = """
say("hungry")
eaten = [bytearray(1 << 25) for _ in range(1000)]
"""

KINDS: tuple[Kind, ...] = (
    Kind(
        "will_not_start",
        Case((r"start: command '\./bin/server' not found",)),
        Case(("exited with status 203", "No such file or directory")),
        package=_package(None),
    ),
    Kind(
        "lacks_its_interpreter",
        Case(("exited with status 127", "not found")),
        Case(("exited with status 203", "No such file or directory")),
        package=_package(b"#!/nowhere/python\n"),
    ),
    Kind(
        "is_not_executable",
        Case((r"start: command '\./bin/server' .* is not executable",)),
        Case(("exited with status 203", "Permission denied")),
        mode=0o644,
    ),
    Kind(
        "is_for_another_processor",
        Case(("exited with status 126", "Exec format error")),
        Case(("exited with status 203", "Exec format error")),
        package=_package(FOR_ANOTHER_PROCESSOR),
    ),
    _both("exits_0", 'say("all done"); os._exit(0)', "exited with status 0", "all done"),
    _both(
        "exits_1_after_1_s",
        'threading.Timer(1, lambda: (say("out of ideas"), os._exit(1))).start()',
        "exited with status 1",
        "out of ideas",
    ),
    _both(
        "is_killed_by_a_signal",
        'say("about to fall"); os.kill(os.getpid(), signal.SIGSEGV)',
        "killed by signal 11",
        "about to fall",
    ),
    Kind(
        "loops_through_crashes_and_looks_active",
        Case(
            ("paper jam", "ended with status 3"),
            wrapped='while :; do "$@"; echo "ended with status $?"; sleep 0.1; done',
            instead="no systemd restarts it, but a loop of the operator's, which stays alive",
        ),
        Case(
            ("paper jam", "status[ =]3"),
            unit=("Restart=always", "RestartSec=100ms", "StartLimitBurst=0"),
        ),
        'threading.Timer(0.3, lambda: (say("paper jam"), os._exit(3))).start()',
    ),
    Kind(
        "ignores_sigterm",
        Case((SICK, "I stay")),
        Case((SICK, "I stay"), unit=("TimeoutStopSec=5",)),
        'signal.signal(signal.SIGTERM, signal.SIG_IGN); say("I stay"); health = lambda: 500',
    ),
    _both("forks_away", _FORK_AWAY, "exited with status 0", "going to the background"),
    _both(
        "freezes",
        'say("so cold"); os.kill(os.getpid(), signal.SIGSTOP)',
        "not healthy within 12 s",
        "so cold",
    ),
    _both(
        "finds_a_port_taken",
        "listening(ELSEWHERE)",
        "exited with status 1",
        "Address already in use",
    ),
    Kind(
        "finds_its_port_taken_and_so_does_the_old",
        Case(
            ("exited with status 1", "Address already in use", "putting back failed, too"),
            Ends.ERROR,
            Spoiled.PORT_SQUATTED,
        ),
        Case(
            ("exited with status 1", "Address already in use", "putting back failed, too"),
            Ends.ERROR,
            Spoiled.PORT_SQUATTED,
        ),
    ),
    _both(
        "answers_500",
        'say("database unreachable"); health = lambda: 500',
        f"{SICK}; not healthy within 12 s",
        "database unreachable",
    ),
    _both(
        "answers_never",
        'say("thinking"); health = lambda: time.sleep(3600)',
        "no answer within .* s; not healthy within 12 s",
        "thinking",
    ),
    _both(
        "flaps",
        'say("well, not well"); health = itertools.cycle((200, 500)).__next__',
        f"{SICK}, .* after it had become healthy",
        "well, not well",
    ),
    _both(
        "is_well_only_by_the_answer_of_the_old_one",
        'say("listening nowhere"); time.sleep(3600)',
        "not healthy within 12 s",
        "listening nowhere",
        first=_LEAVE_A_HELPER,
    ),
    _both("starts_slowly_within_the_limit", "time.sleep(2)", ends=Ends.NEW),
    _both(
        "starts_slowly_beyond_the_limit",
        'say("still warming up"); time.sleep(3600)',
        "not healthy within 12 s",
        "still warming up",
    ),
    _both("prints_100_mb", _PRINT_100_MB, "exited with status 1", "printed it all"),
    Kind(
        "eats_memory_to_its_limit",
        Case(
            ("exited with status 1", "MemoryError"),
            wrapped=f"ulimit -v 600000; {RUN}",
            instead="no unit limits it, but a ulimit in the command",
        ),
        Case(("exited with status 1", "MemoryError"), unit=("LimitAS=600M",)),
        _EAT_MEMORY,
    ),
    _both(
        "removes_its_own_release",
        _REMOVE.format(which="name == own"),
        "exited with status 1",
        "swept the floor",
    ),
    _both(
        "removes_its_own_release_and_the_old_one",
        _REMOVE.format(which="True"),
        "exited with status 1",
        "swept the floor",
        "putting back failed, too: release v1 is no longer on disk",
        ends=Ends.ERROR_WITHOUT_RELEASES,
    ),
    Kind(
        "has_lost_its_unit_file",
        Case(
            ("stop: command '.*' not found", "v1 was put back"),
            Ends.UNTOUCHED,
            Spoiled.STARTER_GONE,
            wrapped=RUN,
            instead="there is no unit, but a program of the operator's that starts the release",
        ),
        Case(("stop: systemd knows no unit",), Ends.UNTOUCHED, Spoiled.STARTER_GONE),
    ),
    Kind(
        "has_its_unit_masked",
        Case(
            ("stop: command '.*' in .* is not executable",),
            Ends.UNTOUCHED,
            Spoiled.STARTER_BARRED,
            wrapped=RUN,
            instead="the operator's program may not be executed any more",
        ),
        Case(("stop: unit .* is masked",), Ends.UNTOUCHED, Spoiled.STARTER_BARRED),
    ),
    Kind(
        "masks_its_own_unit",
        Case(
            ("exited with status 1", "I pull the ladder up", "putting back failed, too: command"),
            Ends.ERROR,
            wrapped=RUN,
            instead="it removes the operator's program that starts it",
        ),
        Case(
            ("exited with status 1", "I pull the ladder up", "back failed, too: unit .* is masked"),
            Ends.ERROR,
        ),
        _SPOIL_AND_END,
    ),
    Kind(
        "lacks_its_user",
        Case(
            ("exited with status 1", "ferryman-ghost"),
            instead="no unit names a user: the service itself looks for one",
        ),
        Case(
            ("exited with status 217", "putting back failed, too: .* exited with status 217"),
            Ends.ERROR,
            Spoiled.USER_GONE,
        ),
        'import pwd; pwd.getpwnam("ferryman-ghost")',
    ),
)

BYSTANDER = "bystander"
"""An instance that only holds its port, which `finds_a_port_taken` wants."""
