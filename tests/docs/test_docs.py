"""The documentation is true: what it shows works, and its words and figures are the code's."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest

from agent.archive import MAX_EXTENDED, MAX_EXTENDED_ALL, MAX_RECORDS
from agent.compression import ZSTD_WINDOW_LOG
from agent.config import load_config
from agent.download import MAX_REDIRECTS, MAX_RESUMES, READ_TIMEOUT
from agent.limits import LIMITS
from agent.member_names import MAX_COMPONENT, MAX_DEPTH, MAX_PATH
from agent.package_bytes import HOLLOW, RATIO, RATIO_FLOOR
from agent.preparer import TELL_BEFORE
from agent.turns import OPEN_AT_ONCE, UNPACKING_AT_ONCE
from coordinator.client.settings import ConfigFile
from coordinator.config import load_settings
from coordinator.core.commands import PUT_BACK_GRACE
from coordinator.core.longest import LOOKS
from coordinator.store.tables import metadata
from protocol.messages import Step
from protocol.room import ROOM
from protocol.settings import load
from protocol.states import Happening, InstanceStatus, Phase, Receipt, TaskState
from tests.docs import diagrams
from tests.docs.pages import ROOT, Block, all_pages, anchors, blocks, links, rows, section, text_of

# ---- states, limits, tables ------------------------------------------------


@pytest.mark.parametrize("kind", [TaskState, Phase, Receipt, InstanceStatus, Step])
def test_every_state_is_explained(kind: Any) -> None:
    page = text_of("docs/operations.md")
    missing = [member.value for member in kind if f"`{member.value}`" not in page]
    assert not missing


def test_every_event_and_table_is_explained() -> None:
    told = rows("docs/architecture.md")
    assert {event.value for event in Happening} <= set(told)
    assert {name for name in metadata.tables if name != "alembic_version"} <= set(told)


def test_the_figures_in_the_pages_are_those_of_the_code() -> None:
    mib = 1024**2
    told = {name: cells[1] for name, cells in rows("docs/packages.md").items()}
    assert told["all files together"] == f"{LIMITS.unpacked // 1024**3} GiB"
    assert told["members"] == f"{LIMITS.members:,}"
    assert told["symbolic links"] == f"{LIMITS.links:,}"
    assert told["all names together"] == f"{LIMITS.names // mib} MiB"
    assert told["one path"] == (
        f"{MAX_PATH:,} bytes, {MAX_DEPTH} folders deep, {MAX_COMPONENT} bytes a part"
    )
    assert told["one extended header"] == f"{MAX_EXTENDED // 1024} KiB"
    assert told["all extended headers"] == (
        f"{MAX_EXTENDED_ALL // mib} MiB, {MAX_RECORDS:,} records"
    )
    assert told["bytes in a row that unpack to nothing"] == f"{HOLLOW // 1024} KiB"
    assert told["unpacked size"].startswith(
        f"{RATIO} times the package's, or {RATIO_FLOOR // mib} MiB"
    )
    assert told["zstd window"] == f"{2**ZSTD_WINDOW_LOG // mib} MiB"
    assert told["free space"].startswith(f"{ROOM} times")
    packages = text_of("docs/packages.md")
    assert f"Up to {MAX_REDIRECTS} redirects" in " ".join(packages.split())
    assert f"up to {MAX_RESUMES} times" in packages
    assert f"no byte for {READ_TIMEOUT:g} s" in packages
    assert f"takes in {UNPACKING_AT_ONCE} packages" in packages
    assert f"; {OPEN_AT_ONCE} are open" in packages
    assert f"{TELL_BEFORE:g} seconds before it" in packages
    windows = f"({LOOKS} openings of one window, {LOOKS // 32} of 32)"
    assert windows in text_of("docs/rollouts.md")
    assert f"{PUT_BACK_GRACE:g} s" in section("docs/operations.md", "Timeouts and retries")


# ---- diagrams --------------------------------------------------------------


@pytest.mark.parametrize("name", diagrams.BLOCKS)
def test_diagrams_equal_the_tables(name: str) -> None:
    """If this fails: python -m tests.docs.diagrams --write."""
    assert diagrams.drawn(text_of("docs/architecture.md"))[name] == diagrams.BLOCKS[name]()


# ---- pages -----------------------------------------------------------------


@pytest.mark.parametrize("block", blocks("toml"), ids=lambda block: block.page.name)
def test_configuration_in_the_pages_loads(block: Block, tmp_path: Path) -> None:
    """Each block begins with a comment that says which file it is."""
    file = tmp_path / "config.toml"
    file.write_text(block.text)
    name = block.text.partition("\n")[0].removeprefix("# ")
    if name == "/etc/ferryman/agent.toml":
        load_config(file)
    elif name == "/etc/ferryman/coordinator.toml":
        load_settings(file)
    else:
        assert name == "~/.config/ferryman/config.toml"
        load(ConfigFile, file)


@pytest.mark.parametrize("block", blocks("python"), ids=lambda block: block.page.name)
def test_python_in_the_pages_compiles(block: Block) -> None:
    compile(block.text, str(block.page), "exec")


@pytest.mark.parametrize("block", blocks("json"), ids=lambda block: block.page.name)
def test_json_in_the_pages_is_an_envelope(block: Block) -> None:
    envelope = json.loads(block.text)
    assert list(envelope) == ["code", "message", "data"]


@pytest.mark.parametrize("page", all_pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page: Path) -> None:
    for link in links(page):
        target, _, anchor = link.partition("#")
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(found), f"{page.name}: {link}"


@pytest.mark.parametrize("page", all_pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_local_path(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for place in (str(ROOT), tempfile.gettempdir(), str(Path.home())):
        assert f"{place}/" not in text, f"{page.name} names {place}"


def test_the_readme_begins_with_both_commands() -> None:
    first_lines = text_of("README.md").splitlines()[:8]
    assert any(line.startswith("make demo") for line in first_lines)
    assert any(line.startswith("make test") for line in first_lines)


def test_the_readme_shows_a_failed_deployment() -> None:
    shown = text_of("README.md").split("<!-- failed-deploy-output -->")[1]
    assert "was put back" in shown.split("<!-- /failed-deploy-output -->")[0]


def test_every_make_target_is_explained() -> None:
    targets = re.findall(r"^([a-z]+):", text_of("Makefile"), re.MULTILINE)
    page = text_of("CONTRIBUTING.md")
    assert targets
    assert [target for target in targets if f"`make {target}`" not in page] == []
