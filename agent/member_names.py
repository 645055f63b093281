"""Which names a package's members may have, and where its links may lead. Pure.

A name that is refused here never reaches a system call. Names are shown in messages
only through `shown`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

from agent.refused import RefusedError

MAX_DEPTH = 64
MAX_COMPONENT = 255
"""Bytes of one part of a path: what Linux file systems take."""
MAX_PATH = 2048
"""Bytes of a whole path inside the package."""
MAX_HOPS = 40
"""Links that may be followed to resolve one link: what Linux follows."""
MAX_LINK_STEPS = 1_000_000
"""Work that checking all links of a package may cost."""

_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})
_DIRECTION = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


def shown(name: str) -> str:
    """Return `name` for a message: escaped, quoted and cut."""
    cut = name if len(name) <= 120 else name[:117] + "..."
    safe = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in cut
    )
    return f"'{safe}'"


def check_path(name: str) -> str:
    """Return the clean relative path of a member: "" is the package's root.

    Raises `RefusedError` for any name that is not plainly a path inside the package.
    """
    _check_text(name, "name")
    if name.startswith("/") or _DRIVE.match(name):
        raise RefusedError(f"{shown(name)} is an absolute path")
    if "\\" in name:
        raise RefusedError(f"{shown(name)} has a backslash")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise RefusedError(f"{shown(name)} leads upwards")
    if len(parts) > MAX_DEPTH:
        raise RefusedError(f"{shown(name)} is more than {MAX_DEPTH} folders deep")
    if len(name) * 4 > MAX_COMPONENT and any(len(p.encode()) > MAX_COMPONENT for p in parts):
        raise RefusedError(f"{shown(name)} has a part longer than {MAX_COMPONENT} bytes")
    return "/".join(parts)


def check_target(link: str, target: str) -> None:
    """Raise `RefusedError` unless `target` is a relative path that a link may hold."""
    if not target:
        raise RefusedError(f"the link {shown(link)} has no target")
    _check_text(target, "link target")
    if target.startswith("/"):
        raise RefusedError(f"the link {shown(link)} leads to the absolute path {shown(target)}")


def twin_key(path: str) -> str:
    """Return what two paths share if a file system could take one for the other."""
    if path.isascii():
        folded = path.lower()
    else:
        folded = unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())
    return path if folded == path else folded


def check_links(links: Mapping[str, str]) -> None:
    """Raise `RefusedError` if any link, followed through the others, leaves the package.

    `links` maps each link's path to its target. A target that does not exist is no
    reason to refuse.
    """
    budget = MAX_LINK_STEPS
    for link in links:
        budget -= _follow(link, links)
        if budget < 0:
            raise RefusedError("its links are too entangled to be checked")


def _follow(link: str, links: Mapping[str, str]) -> int:
    """Follow one link to its end; return the steps that it took."""
    at = link.split("/")[:-1]
    todo = links[link].split("/")[::-1]
    hops = steps = 0
    while todo:
        steps += 1
        part = todo.pop()
        if part in ("", "."):
            continue
        if part == "..":
            if not at:
                raise RefusedError(
                    f"the link {shown(link)} leads out of the package: {shown(links[link])}"
                )
            at.pop()
            continue
        at.append(part)
        onward = links.get("/".join(at))
        if onward is not None:
            hops += 1
            if hops > MAX_HOPS:
                raise RefusedError(f"the link {shown(link)} leads in a circle")
            at.pop()
            todo.extend(onward.split("/")[::-1])
    return steps


def _check_text(text: str, what: str) -> None:
    if len(text) > MAX_PATH or len(text.encode("utf-8", "surrogateescape")) > MAX_PATH:
        raise RefusedError(f"the {what} {shown(text)} is longer than {MAX_PATH} bytes")
    if text.isascii() and text.isprintable():
        return
    for char in text:
        if 0xDC80 <= ord(char) <= 0xDCFF:
            raise RefusedError(f"the {what} {shown(text)} is not UTF-8")
        if unicodedata.category(char) in _CONTROLS or unicodedata.bidirectional(char) in _DIRECTION:
            raise RefusedError(f"the {what} {shown(text)} has a control character")
