"""Backing up and restoring a coordinator's folder: what is refused, and a crash at any point."""

from __future__ import annotations

import resource
import sqlite3
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from coordinator.app import Coordinator
from coordinator.backup import backup
from coordinator.backup_file import BackupError, pack
from coordinator.config import DiscoverySettings, Settings
from coordinator.daemon import main
from coordinator.data_dir import DATABASE, RESTORING
from coordinator.pki import Authority
from coordinator.restore import restore
from coordinator.store import SchemaError
from protocol.access import TokenParams
from protocol.ownership import own_folder
from protocol.settings import SettingsError
from protocol.states import RotationPhase
from tests.parts import backed_up_meanwhile
from tests.parts.killed import killed_everywhere

FILES = {"ca.key", "ca.pem", "server.key", "server.pem", "admin.token", DATABASE}
SECRET = {"ca.key", "server.key", "admin.token", DATABASE}


def settings(folder: Path) -> Settings:
    return Settings(
        data_dir=folder, listen="127.0.0.1:0", discovery=DiscoverySettings(enabled=False)
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a coordinator that has stored a token named `first`. Not to be changed."""
    folder = tmp_path_factory.mktemp("started")
    await name_a_token(folder, "first")
    return folder


async def name_a_token(folder: Path, name: str) -> None:
    """Start a coordinator and let it store something."""
    async with Coordinator(settings(folder)) as coordinator:
        await coordinator.create_token(TokenParams(role="viewer", name=name))


def tokens_in(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [name for (name,) in connection.execute("SELECT name FROM tokens ORDER BY seq")]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "coordinator.lock"
    }


@pytest.fixture
def data_dir(started: Path, tmp_path: Path) -> Path:
    """A folder of its own that holds the same."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    for name in FILES:
        (folder / name).write_bytes((started / name).read_bytes())
    return folder


@pytest.fixture
def saved(data_dir: Path, tmp_path: Path) -> Path:
    backup(tmp_path / "saved.backup", data_dir=data_dir)
    return tmp_path / "saved.backup"


# ---- a backup and back ---------------------------------------------------------


@pytest.mark.parametrize("steps", [["begin"], ["begin", "switch"], ["begin", "switch", "finish"]])
async def test_a_rotation_of_the_authority_is_backed_up_and_restored_as_far_as_it_is(
    data_dir: Path, tmp_path: Path, steps: list[str]
) -> None:
    authority = Authority.open(data_dir)
    for step in steps:
        getattr(authority, step)()
    before = backup(tmp_path / "file", data_dir=data_dir)
    assert before.startswith("backed up")
    elsewhere = tmp_path / "elsewhere"
    restore(tmp_path / "file", data_dir=elsewhere)
    again = Authority.open(elsewhere)
    assert (again.phase, again.digests, again.ca_digest) == (
        authority.phase,
        authority.digests,
        authority.ca_digest,
    )
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in elsewhere.iterdir()}
    assert {mode for name, mode in modes.items() if name.endswith(".key")} == {0o600}
    await name_a_token(elsewhere, "later")


def test_a_backup_from_before_a_rotation_takes_all_of_it_away(data_dir: Path, saved: Path) -> None:
    first = Authority.open(data_dir)
    first.begin()
    first.switch()
    restore(saved, data_dir=data_dir)
    again = Authority.open(data_dir)
    assert (again.phase, again.ca_digest) == (RotationPhase.NONE, first.digests[0])
    (kept,) = data_dir.glob("replaced-*")
    assert {"ca.next.key", "ca.next.pem", "ca.cross.pem"} < {path.name for path in kept.iterdir()}


@pytest.mark.parametrize("done", [[], ["begin"], ["begin", "switch"]])
def test_a_rotation_that_takes_a_step_meanwhile_makes_a_backup_fail(
    data_dir: Path, tmp_path: Path, done: list[str]
) -> None:
    authority = Authority.open(data_dir)
    for step in done:
        getattr(authority, step)()
    following = ["begin", "switch", "finish"][len(done)]
    program = [sys.executable, "-m", backed_up_meanwhile.__name__]
    argv = [*program, str(data_dir), str(tmp_path / "file"), following]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "no backup was made: " in ended.stderr
    assert not list(tmp_path.glob("file*"))
    backup(tmp_path / "file", data_dir=data_dir)


async def test_a_backup_of_a_running_coordinator_is_restored_into_an_empty_folder(
    data_dir: Path, tmp_path: Path
) -> None:
    file, elsewhere = tmp_path / "file", tmp_path / "elsewhere"
    async with Coordinator(settings(data_dir)) as coordinator:
        await coordinator.create_token(TokenParams(role="viewer", name="just now"))
        told = backup(file, data_dir=data_dir)
        assert (data_dir / f"{DATABASE}-wal").stat().st_size, "it is not yet in the database's file"
    assert told.startswith(f"backed up {data_dir} to {file}: ")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    told = restore(file, data_dir=elsewhere)
    assert told.startswith(f"restored {elsewhere} from {file}, made 20")
    assert tokens_in(elsewhere / DATABASE) == ["admin.token", "first", "just now"]
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in elsewhere.iterdir()}
    assert found.keys() == FILES | {"coordinator.lock"}
    assert {name for name in FILES if found[name] == 0o600} == SECRET
    for name in FILES - {DATABASE}:
        assert (elsewhere / name).read_bytes() == (data_dir / name).read_bytes()
    await name_a_token(elsewhere, "later")


def test_what_was_there_is_kept_and_its_log_does_not_outlive_it(
    data_dir: Path, saved: Path
) -> None:
    with closing(sqlite3.connect(data_dir / DATABASE)) as killed, killed:
        killed.execute("PRAGMA journal_mode = WAL")
        killed.execute("UPDATE tokens SET name = 'newer'")
        killed.commit()
        for name in (DATABASE, f"{DATABASE}-wal"):
            (data_dir / f"copy of {name}").write_bytes((data_dir / name).read_bytes())
    for name in (DATABASE, f"{DATABASE}-wal"):
        (data_dir / f"copy of {name}").rename(data_dir / name)
    before = contents(data_dir)
    assert before[f"{DATABASE}-wal"]

    told = restore(saved, data_dir=data_dir)
    (replaced,) = data_dir.glob("replaced-*")
    assert told.endswith(f"what was there is in {replaced}")
    assert contents(replaced) == before
    assert {path.name for path in data_dir.iterdir()} == FILES | {
        "coordinator.lock",
        replaced.name,
    }
    assert tokens_in(data_dir / DATABASE) == ["admin.token", "first"]
    assert tokens_in(replaced / DATABASE) == ["newer", "newer"]
    restore(saved, data_dir=data_dir)
    assert len(list(data_dir.glob("replaced-*"))) == 2


def test_the_commands_tell_what_they_did_in_one_line(
    data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, file = tmp_path / "coordinator.toml", tmp_path / "file"
    config.write_text(f'data_dir = "{data_dir}"\n')
    main(["backup", str(file), "--config", str(config)])
    assert capsys.readouterr().out.startswith(f"backed up {data_dir} to {file}: ")
    with pytest.raises(SystemExit) as refusal:
        main(["backup", str(file), "--data-dir", str(data_dir)])
    told = f"{file} exists; name another file, or replace it with --force"
    assert refusal.value.code == f"ferryman-coordinator: {told}"
    main(["--data-dir", str(data_dir), "restore", str(file)])
    out, err = capsys.readouterr()
    assert out.startswith(f"restored {data_dir} from {file}, made 20")
    assert (len(out.splitlines()), err) == (1, "")


# ---- refused, and nothing was changed --------------------------------------------


@contextmanager
def refused(match: str, *, unchanged: Path, error: type[Exception] = BackupError) -> Iterator[None]:
    before = contents(unchanged)
    with pytest.raises(error, match=match):
        yield
    assert contents(unchanged) == before


def test_a_backup_never_replaces_a_file_unless_it_is_told_to(
    data_dir: Path, saved: Path, tmp_path: Path
) -> None:
    first = saved.read_bytes()
    with refused("exists; name another file, or replace it with --force", unchanged=tmp_path):
        backup(saved, data_dir=data_dir)
    backup(saved, data_dir=data_dir, force=True)
    assert saved.read_bytes() != first, "it has another time"
    with refused("is a folder", unchanged=tmp_path):
        backup(tmp_path, data_dir=data_dir, force=True)


def test_what_cannot_be_backed_up_is_named(data_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    with refused("there is no folder .*/nowhere", unchanged=tmp_path):
        backup(tmp_path / "nowhere" / "file", data_dir=data_dir)
    with refused("no backup was made: Operation not permitted", unchanged=tmp_path):
        backup(Path("/sys/file"), data_dir=data_dir)
    with refused("there is no database to back up", unchanged=tmp_path):
        backup(file, data_dir=tmp_path)
    config = tmp_path / "coordinator.toml"
    config.write_text('database_url = "postgresql+asyncpg://localhost/ferryman"')
    with refused(
        "database_url: not an SQLite file; .* that database's own tools", unchanged=tmp_path
    ):
        backup(file, config=config, data_dir=data_dir)
    (data_dir / "ca.key").unlink()
    with refused("ca.key is missing", unchanged=tmp_path):
        backup(file, data_dir=data_dir)


@pytest.mark.parametrize("at", [0, 3 * 4096])
def test_a_damaged_database_is_not_backed_up(data_dir: Path, tmp_path: Path, at: int) -> None:
    with (data_dir / DATABASE).open("r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * 8192)
    with refused("damaged|not a database", unchanged=tmp_path, error=SettingsError):
        backup(tmp_path / "file", data_dir=data_dir)


def test_a_full_disk_leaves_no_half_backup(data_dir: Path, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (40_000, (data_dir / DATABASE).stat().st_size + 4096):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            with refused("no backup was made", unchanged=tmp_path):
                backup(tmp_path / "file", data_dir=data_dir)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_folder_in_use_is_not_restored(data_dir: Path, saved: Path) -> None:
    with (
        own_folder("data_dir", data_dir, "coordinator", 0o700),
        refused("is used by a coordinator: stop it first", unchanged=data_dir),
    ):
        restore(saved, data_dir=data_dir)


def test_a_backup_that_is_not_whole_is_not_restored(
    data_dir: Path, saved: Path, tmp_path: Path
) -> None:
    whole = saved.read_bytes()
    broken = tmp_path / "broken"
    ends = [0, 100, 512, 1000, 2048, len(whole) // 2, whole.rindex(b"SQLite format 3")]
    for end in ends:
        broken.write_bytes(whole[:end])
        with refused("is cut off; nothing was changed", unchanged=data_dir):
            restore(broken, data_dir=data_dir)
    for at in (
        0,
        whole.index(b'"ca.key"') + 20,
        whole.index(b"PRIVATE"),
        whole.index(b"CREATE TABLE"),
    ):
        broken.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with refused("damaged|not a backup", unchanged=data_dir):
            restore(broken, data_dir=data_dir)
    broken.write_bytes(whole.replace(b'"format": 1', b'"format": 2'))
    with refused("has the format 2, made by Ferryman .*; this version knows 1", unchanged=data_dir):
        restore(broken, data_dir=data_dir)
    with refused("No such file", unchanged=data_dir):
        restore(tmp_path / "missing", data_dir=data_dir)


@pytest.mark.parametrize("name", ["../ca.pem", "/etc/passwd", "coordinator.lock", "ca.key"])
def test_a_backup_is_read_by_its_fixed_names_only(
    data_dir: Path, saved: Path, tmp_path: Path, name: str
) -> None:
    with tarfile.open(saved, "a") as archive:
        archive.addfile(tarfile.TarInfo(name))
    with refused("holds .* which backup.json does not name", unchanged=data_dir):
        restore(saved, data_dir=data_dir)


def test_a_backup_of_a_newer_schema_is_not_restored(data_dir: Path, tmp_path: Path) -> None:
    newer = tmp_path / "newer.db"
    newer.write_bytes((data_dir / DATABASE).read_bytes())
    with closing(sqlite3.connect(newer)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    file = tmp_path / "file"
    parts = {name: data_dir / name for name in FILES} | {DATABASE: newer}
    pack(parts, "9999", datetime.now(UTC), file)
    with refused(f"{file} has the schema revision 9999", unchanged=data_dir, error=SchemaError):
        restore(file, data_dir=data_dir)


# ---- starting on what is not whole -----------------------------------------------


@pytest.mark.parametrize(
    ("holds", "said", "error"),
    [
        (b"this is not a database\n" * 500, "is damaged", SchemaError),
        (b"", "is empty", SettingsError),
    ],
    ids=["damaged", "emptied"],
)
async def test_a_database_that_is_none_is_refused_with_the_command_that_mends_it(
    data_dir: Path, saved: Path, holds: bytes, said: str, error: type[Exception]
) -> None:
    (data_dir / DATABASE).write_bytes(holds)
    command = f"ferryman-coordinator restore BACKUP --data-dir {data_dir}"
    with refused(f"{said}.*put a backup back: {command}", unchanged=data_dir, error=error):
        await name_a_token(data_dir, "never")
    restore(saved, data_dir=data_dir)
    await name_a_token(data_dir, "afterwards")
    assert tokens_in(data_dir / DATABASE) == ["admin.token", "first", "afterwards"]


async def test_a_first_start_that_was_cut_off_with_an_empty_database_is_finished(
    data_dir: Path,
) -> None:
    (data_dir / DATABASE).write_bytes(b"")
    (data_dir / "admin.token").unlink()
    await name_a_token(data_dir, "first")
    assert tokens_in(data_dir / DATABASE) == ["admin.token", "first"]


async def test_a_missing_database_beside_the_authority_is_a_start_with_a_warning(
    data_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = (data_dir / "ca.pem").read_bytes()
    (data_dir / DATABASE).unlink()
    await name_a_token(data_dir, "anew")
    assert (data_dir / "ca.pem").read_bytes() == authority
    (warned,) = [record for record in caplog.records if record.name == "coordinator.data_dir"]
    assert f"ferryman-coordinator restore BACKUP --data-dir {data_dir}" in warned.getMessage()
    caplog.clear()
    await name_a_token(data_dir, "again")
    await name_a_token(tmp_path / "first start", "one")
    assert not [record for record in caplog.records if record.name == "coordinator.data_dir"]


# ---- killed in the middle ----------------------------------------------------------


async def test_a_restore_killed_on_its_way_is_not_started_on_and_run_again(
    data_dir: Path, saved: Path, tmp_path: Path
) -> None:
    """A few of the points; all of them are in the lab."""
    (data_dir / f"{DATABASE}-wal").write_bytes(b"of the old database")
    (data_dir / "admin.token").unlink()
    (tmp_path / "after").mkdir()
    states = await killed_everywhere(data_dir, saved, tmp_path / "after", every=9)
    assert sorted(set(states), key=states.index) == ["old", "half", "new"]


async def test_no_coordinator_starts_on_a_half_restored_folder(data_dir: Path) -> None:
    (data_dir / RESTORING).mkdir()
    told = f"is half restored.* run it again: ferryman-coordinator restore .*{data_dir}"
    with refused(told, unchanged=data_dir, error=SettingsError):
        await name_a_token(data_dir, "never")
    with refused("is half restored", unchanged=data_dir, error=SettingsError):
        backup(data_dir.parent / "never", data_dir=data_dir)
