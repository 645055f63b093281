"""Members that are no file, folder or link, and modes that no file of a release has."""

from __future__ import annotations

from tests.archives.hostile import Hostile, of
from tests.parts.packages import header, pax

_SPARSE_DATA = b"2\n0\n512\n1073741312\n512\n"


def _typed(name: str, kind: bytes, says: str) -> Hostile:
    return Hostile(name, of(header("evil", kind=kind)), f"'evil' is {says}")


def _mode(name: str, mode: int, becomes: int) -> Hostile:
    return Hostile(
        name, of(header("tool", b"x", mode=mode)), modes={"fine": 0o644, "tool": becomes}
    )


ARCHIVES = (
    _typed("character-device", b"3", "a character device"),
    _typed("block-device", b"4", "a block device"),
    _typed("fifo", b"6", "a fifo"),
    _typed("socket", b"s", "of the unknown type"),
    _typed("door-of-solaris", b"D", "of the unknown type"),
    _typed("multi-volume", b"M", "of the unknown type"),
    _typed("volume-label", b"V", "of the unknown type"),
    _typed("unknown-type", b"Z", "of the unknown type"),
    _typed("unknown-type-of-a-control-character", b"\x1b", r"of the unknown type"),
    _typed("sparse-old-gnu", b"S", "a sparse file"),
    Hostile(
        "sparse-pax-0.0",
        of(
            pax(
                {
                    "GNU.sparse.size": "99",
                    "GNU.sparse.numblocks": "1",
                    "GNU.sparse.offset": "0",
                    "GNU.sparse.numbytes": "1",
                }
            ),
            header("evil", b"x"),
        ),
        "'evil' is a sparse file",
    ),
    Hostile(
        "sparse-pax-0.1",
        of(
            pax({"GNU.sparse.map": "0,9", "GNU.sparse.size": "99", "GNU.sparse.name": "evil"}),
            header("GNUSparseFile.0/x", b"x"),
        ),
        "'evil' is a sparse file",
    ),
    Hostile(
        "sparse-pax-1.0",
        of(
            pax(
                {
                    "GNU.sparse.major": "1",
                    "GNU.sparse.minor": "0",
                    "GNU.sparse.name": "../evil",
                    "GNU.sparse.realsize": "1073741824",
                }
            ),
            header("GNUSparseFile.0/x", _SPARSE_DATA),
        ),
        "'../evil' is a sparse file",
    ),
    _mode("setuid", 0o4755, 0o755),
    _mode("setgid", 0o2755, 0o755),
    _mode("sticky", 0o1644, 0o644),
    _mode("setuid-and-writable-by-all", 0o6777, 0o755),
    _mode("no-rights", 0o000, 0o644),
    Hostile(
        "setuid-folder",
        of(header("d", kind=b"5", mode=0o7777), header("d/x", b"x")),
        modes={"fine": 0o644, "d": 0o755, "d/x": 0o644},
    ),
    Hostile("owners", of(header("x", b"x", owner=0o1234)), modes={"fine": 0o644, "x": 0o644}),
    Hostile(
        "file-capabilities",
        of(
            pax({"SCHILY.xattr.security.capability": b"\1\0\0\2\0 \0\0" + bytes(12)}),
            header("tool", b"x", mode=0o755),
        ),
        modes={"fine": 0o644, "tool": 0o755},
    ),
)
