"""The archives of published holes in Python's `tarfile`, rebuilt from their descriptions."""

from __future__ import annotations

import os.path

from tests.archives.hostile import Hostile, Scene, members, of
from tests.parts.packages import header, pax


def _symlink(name: str, target: str) -> bytes:
    return pax({"path": name, "linkpath": target}) + header("x", kind=b"2", target="x")


def _folder(name: str, mode: int = 0o755) -> bytes:
    return pax({"path": name}) + header("x", kind=b"5", mode=mode)


def _hard_link(name: str, target: str) -> bytes:
    return pax({"path": name, "linkpath": target}) + header("x", kind=b"1", target="x")


def _path_too_long_to_resolve(scene: Scene) -> list[bytes]:
    """CVE-2025-4517: links that expand beyond PATH_MAX, where `realpath` stops expanding them.

    Whatever comes behind them passed as harmless: a link up, a hard link through it that is
    then written to, and a new file.
    """
    component, steps = "d" * 100, "abcdefghijklmnop"
    path = short = ""
    parts = []
    for step in steps:
        parts.append(_folder(os.path.join(path, component)))
        parts.append(_symlink(os.path.join(path, step), component))
        path, short = os.path.join(path, component), os.path.join(short, step)
    long = os.path.join(short, "l" * 254)
    parts += [
        _symlink(long, "/".join([".."] * len(steps))),
        _symlink("escape", f"{long}/{scene.up}"),
        _hard_link("flaglink", "escape/secret"),
        header("flaglink", b"overwritten"),
        header("escape/newfile", b"new"),
    ]
    return [members(*parts)]


ARCHIVES = (
    Hostile(
        "cve-2007-4559",
        lambda scene: [members(header(f"{scene.up}/evil", b"evil"), header("/tmp/evil", b"evil"))],
        "'../../../outside/evil'",
    ),
    # The modes of folders were set at the end, when `a/pwn` led elsewhere.
    Hostile(
        "cve-2024-12718",
        of(
            header("a/pwn", kind=b"2", target="."),
            header("a/pwn/", kind=b"5", mode=0o777),
            header("a/pwn", kind=b"2", target="x/../"),
            header("a/x", kind=b"2", target="../"),
        ),
        "'a/pwn'",
    ),
    # Harmless when it was looked at, and outside once `link` was there.
    Hostile(
        "cve-2025-4138",
        of(
            header("escape", kind=b"2", target="link/link/../../link-here"),
            header("link", kind=b"2", target="./"),
        ),
        "'escape'",
    ),
    # A hard link to a link was made as a copy of it, at another depth.
    Hostile(
        "cve-2025-4330",
        of(
            header("a/t/dummy", b"x"),
            header("b/", kind=b"5"),
            header("c", kind=b"2", target="a/t"),
            header("c/escape", kind=b"2", target="../../link_here"),
            header("c", kind=b"2", target="b"),
            header("boom", kind=b"1", target="c/escape"),
        ),
        "'c'",
    ),
    # With errorlevel = 0 members that the filter had refused were unpacked all the same.
    Hostile(
        "cve-2025-4435",
        of(header("good", b"x"), header("../filtered", b"evil"), header("good2", b"x")),
        "'../filtered'",
    ),
    Hostile("cve-2025-4517", _path_too_long_to_resolve, "'a' is used as a folder and is none"),
    # A negative size led the reader back to the same header for ever.
    Hostile("cve-2025-8194", of(header("loop", size=-1024)), "'loop' has a negative size"),
    Hostile(
        "cve-2025-8194-in-pax", of(pax({"size": "-1024"}), header("loop")), "'-1024' (after 'fine')"
    ),
)
