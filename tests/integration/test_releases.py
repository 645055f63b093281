"""The releases folder: what is trusted, what is kept, and what a crash may leave."""

from __future__ import annotations

import io
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.package_bytes import PackageBytes
from agent.ports import StepError
from agent.releases import Release, Releases
from agent.unpack import unpack
from tests.parts.packages import Content, Link, sha256, tar


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(tmp_path / "root")


def install(releases: Releases, version: str, files: dict[str, Content] | None = None) -> Release:
    """Unpack and publish a small package."""
    data = tar(
        files
        or {
            "bin/server": (f"I am {version}".encode(), 0o755),
            "lib/data": b"data",
            "run": Link("bin/server"),
        }
    )
    source = io.BytesIO(data)
    with releases.stage() as staging:
        package = PackageBytes(lambda: source.read(1000))
        entries = unpack(package, staging.path)
        return staging.publish(version, sha256(data), entries)


def names(releases: Releases) -> list[str]:
    return [release.version for release in releases.all()]


def on_disk(releases: Releases) -> list[str]:
    folder = releases.current_link.parent / "releases"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def all_of(release: Release) -> list[str]:
    """The names of one release on disk."""
    name = release.path.name
    return [name, f".{name}.manifest", f".{name}.proof"]


def test_nothing_is_made_until_it_is_needed(releases: Releases) -> None:
    assert releases.all() == []
    assert releases.current() is None
    assert releases.find("v1") is None
    assert releases.prune([]) == []
    releases.switch(None)
    releases.sweep()
    assert not releases.current_link.parent.exists()


def test_a_published_release_is_found_by_version_and_digest(releases: Releases) -> None:
    release = install(releases, "v1")
    assert release.path.name == f"v1-{release.digest[:12]}"
    assert stat.S_IMODE(release.path.stat().st_mode) == 0o755
    assert releases.find("v1") == release
    assert releases.find("v1", release.digest) == release
    assert releases.find("v1", "0" * 64) is None
    assert releases.find("v2") is None
    releases.verify(release)


def test_the_newest_of_one_version_is_found(releases: Releases) -> None:
    install(releases, "v1", {"a": b"first"})
    second = install(releases, "v1", {"a": b"second"})
    assert releases.find("v1") == second
    assert len(releases.all()) == 2


def test_switch_replaces_the_link_in_one_step_and_none_removes_it(releases: Releases) -> None:
    v1, v2 = install(releases, "v1"), install(releases, "v2")
    for release in (v1, v2, v1):
        releases.switch(release)
        assert releases.current() == release
        assert releases.current_link.resolve() == release.path
    assert os.readlink(releases.current_link) == f"releases/{v1.path.name}"
    releases.switch(None)
    assert releases.current() is None
    assert not releases.current_link.is_symlink()


def test_a_folder_in_the_place_of_current_is_left_alone(releases: Releases) -> None:
    release = install(releases, "v1")
    releases.current_link.mkdir()
    with pytest.raises(StepError, match="can't switch current"):
        releases.switch(release)
    assert [path.name for path in releases.current_link.parent.iterdir() if path.is_symlink()] == []


def change(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"!")


def replace_by_link(path: Path) -> None:
    path.rename(path.with_name("aside"))
    path.symlink_to("aside")


def replace_by_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("victim", "damage", "reason"),
    [
        ("lib/data", change, "lib/data has other content"),
        ("lib/data", grow, "lib/data has 5 bytes, not 4"),
        ("lib/data", Path.unlink, "lib/data is missing"),
        ("lib/data", replace_by_link, "lib/data can't be read"),
        ("lib/data", replace_by_fifo, "lib/data is no regular file"),
        ("lib", replace_by_link, "lib is no folder any more"),
        ("bin/server", lambda path: path.chmod(0o644), "bin/server has the mode 0644, not 0755"),
        ("run", Path.unlink, "run is no link any more"),
        ("run", lambda path: (path.unlink(), path.symlink_to("lib")), "run leads elsewhere"),
    ],
)
def test_verify_names_what_differs(
    releases: Releases, victim: str, damage: Callable[[Path], object], reason: str
) -> None:
    release = install(releases, "v1")
    damage(release.path / victim)
    with pytest.raises(StepError, match=reason) as failure:
        releases.verify(release)
    assert release.path.name in failure.value.message
    assert not failure.value.passing


def test_verify_tolerates_what_the_service_wrote_beside_its_files(releases: Releases) -> None:
    release = install(releases, "v1")
    (release.path / "lib" / "__pycache__").mkdir()
    (release.path / "server.log").write_text("started")
    releases.verify(release)


def test_a_damaged_manifest_is_not_trusted(releases: Releases) -> None:
    release = install(releases, "v1")
    manifest = release.path.with_name(f".{release.path.name}.manifest")
    lines = manifest.read_bytes().splitlines(keepends=True)
    manifest.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(StepError, match="is damaged"):
        releases.verify(release)
    manifest.write_bytes(lines[0][:-20])
    assert releases.all() == []


def test_the_same_release_again_is_the_one_that_is_there(releases: Releases) -> None:
    first = install(releases, "v1")
    inode = first.path.stat().st_ino
    assert install(releases, "v1") == first
    assert first.path.stat().st_ino == inode
    assert names(releases) == ["v1"]


def test_a_damaged_release_is_replaced_and_its_old_files_stay_until_pruning(
    releases: Releases,
) -> None:
    first = install(releases, "v1")
    releases.switch(first)
    served = os.open(first.path, os.O_PATH)
    try:
        change(first.path / "lib/data")
        assert install(releases, "v1") == first
        releases.verify(first)
        assert releases.current() == first
        os.close(os.open("lib/data", os.O_RDONLY, dir_fd=served))
        assert releases.prune([]) == []
        with pytest.raises(FileNotFoundError):
            os.open("lib/data", os.O_RDONLY, dir_fd=served)
    finally:
        os.close(served)


def test_another_package_never_takes_a_name_that_is_in_use(releases: Releases) -> None:
    release = install(releases, "v1")
    twin = release.digest[:12] + "0" * 52
    with releases.stage() as staging, pytest.raises(StepError, match="another package is there"):
        staging.publish("v1", twin, [])
    releases.verify(release)


def test_discard_removes_release_and_manifest_but_never_the_current_one(
    releases: Releases,
) -> None:
    v1, v2 = install(releases, "v1"), install(releases, "v2")
    releases.switch(v2)
    releases.discard(v1)
    assert names(releases) == ["v2"]
    assert on_disk(releases) == sorted(all_of(v2))
    with pytest.raises(StepError, match="is the current one"):
        releases.discard(v2)
    releases.verify(v2)


def test_prune_keeps_only_the_spared_and_the_current(releases: Releases) -> None:
    made = {version: install(releases, version) for version in ("v3", "v1", "v5", "v2", "v4")}
    releases.switch(made["v3"])
    assert releases.prune([made["v1"], made["v4"]]) == []
    assert names(releases) == ["v3", "v1", "v4"]
    assert releases.prune([]) == []
    assert names(releases) == ["v3"]


@contextmanager
def unremovable(file: Path) -> Iterator[None]:
    """Keep the system from removing a file, even for root."""
    if os.geteuid() != 0:
        file.parent.chmod(0o555)
        yield
        return
    if subprocess.run(["chattr", "+i", file], check=False, capture_output=True).returncode:
        pytest.skip("this file system has no immutable files")
    try:
        yield
    finally:
        for moved in file.parents[2].rglob(file.name):
            subprocess.run(["chattr", "-i", moved], check=True)


def test_field_note_20_a_failed_clean_up_only_warns(releases: Releases) -> None:
    v1, v2, v3 = (install(releases, version) for version in ("v1", "v2", "v3"))
    releases.switch(v3)
    with unremovable(v1.path / "lib" / "data"):
        warnings = releases.prune([])
        assert len(warnings) == 1
        assert f"can't remove the release {v1.path.name}" in warnings[0]
        assert names(releases) == ["v3"]
        assert not v2.path.exists()
        releases.sweep()  # logs, and does not raise


def test_sweep_removes_what_a_crash_leaves_and_nothing_else(releases: Releases) -> None:
    v1, v2 = install(releases, "v1"), install(releases, "v2")
    half = install(releases, "v3")
    orphan = install(releases, "v4")
    releases.switch(v1)
    folder = v1.path.parent
    half.path.with_name(f".{half.path.name}.manifest").unlink()
    orphan.path.rename(folder / ".staging-of-a-discard")
    (folder / ".staging-0123" / "bin").mkdir(parents=True)
    (folder / f"..{v1.path.name}.manifest.0123.tmp").write_text("{")
    (folder.parent / ".current-0123").symlink_to("releases/nowhere")
    assert names(releases) == ["v1", "v2"]

    releases.sweep()

    assert on_disk(releases) == sorted(name for one in (v1, v2) for name in all_of(one))
    assert sorted(path.name for path in folder.parent.iterdir()) == ["current", "releases"]
    assert releases.current() == v1


def test_sweep_ends_a_replacement_that_a_crash_cut_in_two(releases: Releases) -> None:
    release = install(releases, "v1")
    releases.switch(release)
    release.path.rename(release.path.with_name(f".replaced-{release.path.name}"))
    assert releases.current() is None
    releases.sweep()
    assert releases.current() == release
    releases.verify(release)


def test_a_staging_folder_goes_when_it_is_not_published(releases: Releases) -> None:
    with releases.stage() as staging:
        (staging.path / "file").write_bytes(b"x")
        assert on_disk(releases) == [staging.path.name]
    assert on_disk(releases) == []


@pytest.mark.parametrize("version", ["../v1", "v1/..", "", ".v1", "a..b"])
def test_a_version_that_is_no_name_is_never_published(releases: Releases, version: str) -> None:
    with releases.stage() as staging, pytest.raises(ValueError, match="must be"):
        staging.publish(version, sha256(b""), [])
    assert on_disk(releases) == []
