"""The layers of the architecture: imports go one way, and the agent stays light."""

from __future__ import annotations

import ast
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import rows

ROOT = Path(__file__).resolve().parent.parent

COORDINATOR_LIBRARIES = {"sqlalchemy", "alembic", "aiosqlite", "uvloop"}
IMPURE = {
    "asyncio",
    "socket",
    "time",
    "random",
    "secrets",
    "logging",
    "aiohttp",
    "sqlalchemy",
    "subprocess",
    "os",
    "pathlib",
}

COORDINATOR_LAYERS = [
    {"__init__", "app", "daemon", "running"},
    {"backup", "restore", "weaknesses"},
    {"store", "clock", "discovery", "backup_file"},
    {"data_dir"},
    {"config"},
    {"http", "hub", "hosts", "rotation", "pinning"},
    {"gate"},
    {"shares", "turns"},
    {"prefetching", "service", "steering", "changing", "access", "reception", "evidence"},
    {"renewals", "beliefs", "claims", "pins"},
    {"session"},
    {"accepted", "views", "planning"},
    {
        *("rollbacks", "readiness", "targets", "known", "audit", "auth", "host_views"),
        "past_versions",
    },
    {"engine"},
    {"inbox"},
    {"batch"},
    {"pki"},
    {"server_tls"},
    {"server_pair"},
    {"authority_files"},
    {"x509"},
    {"cli"},
    {"client"},
    {"conflicts", "stream"},
    {"simulation"},
    {"imagined"},
    {"admission", "allowance", "fleet", "news", "package_sizes", "told", "waiting"},
    {"arguments", "caller", "ids", "permissions", "strategies", "token_ends"},
    {"ports", "skew"},
    {"core"},
]
AGENT_LAYERS = [
    {"__init__", "app"},
    {"weaknesses"},
    {"config"},
    {"package_settings"},
    {"approval", "enroll"},
    {"strangers"},
    {"questions"},
    {"connection"},
    {"frames"},
    {"dialogue", "upkeep"},
    {"worker", "renewal"},
    {"recovery"},
    {"activation"},
    {"executor", "pruner", "verifier", "watcher"},
    {"ledger"},
    {"preparer"},
    {"observe"},
    {"instance"},
    {"fetch"},
    {"drivers", "download", "health", "hush", "discovery", "journal", "unpack_apart"},
    {"terms"},
    {"trust"},
    {"releases"},
    {"unpacker"},
    {"unpack"},
    {"archive"},
    {"compression", "take_over"},
    {"keys", "member_names", "minisign", "package_bytes"},
    {
        *("command", "ed25519", "findings", "identity", "lowest_rate", "manifest", "output"),
        *("package_url", "refused", "service_user", "walls"),
    },
    {
        *("allowed_hosts", "connector", "crash", "csr", "durable", "landlock", "limits", "memory"),
        *("moments", "network_reasons", "pace", "past", "pins", "pipe", "proof", "removal"),
        *("retry_after", "shorten", "tar_header", "turns", "yielding"),
    },
    {"ports"},
    {"core"},
]
"""A module may import from its own row and from those below it."""


LAYERS = [("coordinator", COORDINATOR_LAYERS), ("agent", AGENT_LAYERS)]


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize(
    ("folder", "foreign"),
    [
        ("protocol", {"agent", "coordinator"} | COORDINATOR_LIBRARIES),
        ("agent", {"coordinator", "rich", "click"} | COORDINATOR_LIBRARIES),
        ("coordinator", {"agent"}),
    ],
)
def test_packages_do_not_reach_into_each_other(folder: str, foreign: set[str]) -> None:
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources(folder)
        for name in imports_of(path)
        if name.split(".")[0] in foreign
    }
    assert not found


@pytest.mark.parametrize(
    "path",
    [*sources("coordinator/core"), *sources("agent/core"), ROOT / "protocol/states.py"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_the_core_is_pure(path: Path) -> None:
    assert not {name for name in imports_of(path) if name.split(".")[0] in IMPURE}


def module_of(folder: str, path: Path) -> str:
    """The module or subpackage that stands in a row."""
    return path.relative_to(ROOT / folder).parts[0].removesuffix(".py")


@pytest.mark.parametrize(("folder", "layers"), LAYERS)
def test_every_module_has_one_row(folder: str, layers: list[set[str]]) -> None:
    modules = {module_of(folder, path) for path in sources(folder)}
    assert sorted(name for names in layers for name in names) == sorted(modules)


@pytest.mark.parametrize(("folder", "layers"), LAYERS)
def test_modules_import_downwards(folder: str, layers: list[set[str]]) -> None:
    rank = {name: row for row, names in enumerate(layers) for name in names}
    upward = set()
    for path in sources(folder):
        importer = module_of(folder, path)
        for name in imports_of(path):
            parts = name.split(".")
            if parts[0] != folder or len(parts) < 2:
                continue
            target = parts[1] if parts[1] in rank else "__init__"
            if rank[importer] > rank[target]:
                upward.add(f"{folder}/{importer} imports {name}")
    assert not upward


@pytest.mark.parametrize(("folder", "layers"), LAYERS)
def test_the_page_shows_the_layers_in_this_order(folder: str, layers: list[set[str]]) -> None:
    rank = {name: row for row, names in enumerate(layers) for name in names}
    shown = rows("docs/architecture.md")[folder][1].strip("`").removesuffix(" → protocol")
    ranks = [[rank[name] for name in re.findall(r"\w+", part)] for part in shown.split(" → ")]
    assert all(max(left) < min(right) for left, right in itertools.pairwise(ranks)), shown


def test_only_the_wiring_names_adapters_of_the_agent() -> None:
    adapters = {"agent.drivers", "agent.connection", "agent.enroll"}
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources("agent")
        if path.name != "app.py" and "drivers" not in path.parts
        for name in imports_of(path)
        if any(name == adapter or name.startswith(adapter + ".") for adapter in adapters)
        and path.stem not in adapter_stem(name)
    }
    assert not found


def adapter_stem(name: str) -> str:
    return name.split(".")[1]


def test_the_client_needs_none_of_the_daemons_libraries() -> None:
    code = (
        "import sys\n"
        "import coordinator, coordinator.client, coordinator.cli.main\n"
        f"print(sorted(set(sys.modules) & {COORDINATOR_LIBRARIES!r}))\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert shown.stdout.strip() == "[]"


def test_the_agent_loads_no_heavy_libraries() -> None:
    heavy = COORDINATOR_LIBRARIES | {"cryptography", "rich", "click"}
    code = f"import sys\nimport agent.app\nprint(sorted(set(sys.modules) & {heavy!r}))\n"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert shown.stdout.strip() == "[]"
