"""Archives that cost more than they weigh: bytes, members, names, headers, links."""

from __future__ import annotations

import gzip
import itertools
import zlib
from collections.abc import Iterator

from tests.archives.hostile import Hostile, Scene, members, of
from tests.parts.packages import END, header, pax, zst

_MB = 1024 * 1024
_FIVE_MILLION = 5_000_000


def _of_zeros(size: int) -> Iterator[bytes]:
    """An archive of one file of so many zeros."""
    yield header("fine", b"x")
    yield header("bomb", size=size)
    yield from itertools.repeat(bytes(_MB), size // _MB)
    yield END


def _gzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    pack = zlib.compressobj(9, wbits=31)
    for piece in pieces:
        yield pack.compress(piece)
    yield pack.flush()


def _in_zstd_frames(pieces: Iterator[bytes]) -> Iterator[bytes]:
    return map(zst, pieces)


def _gzip_bomb(scene: Scene) -> Iterator[bytes]:
    return _gzipped(_of_zeros(19 * 1024 * _MB))


def _zstd_bomb(scene: Scene) -> Iterator[bytes]:
    return _in_zstd_frames(_of_zeros(19 * 1024 * _MB))


def _zeros_after_the_end(scene: Scene) -> Iterator[bytes]:
    return _gzipped(itertools.chain([members()], itertools.repeat(bytes(_MB), 10_000)))


def _nested(scene: Scene) -> list[bytes]:
    """A bomb in gzip, in gzip, in zstd."""
    whole = b"".join(_gzipped(_of_zeros(64 * _MB)))
    return [zst(gzip.compress(whole))]


def _empty_gzip_members(scene: Scene) -> Iterator[bytes]:
    yield gzip.compress(header("fine", b"x"))
    yield from itertools.repeat(gzip.compress(b"") * 1000, 1000)


def _skippable_zstd_frames(scene: Scene) -> Iterator[bytes]:
    yield zst(header("fine", b"x"))
    yield from itertools.repeat(b"\x50\x2a\x4d\x18\0\0\0\0" * 1000, 1000)


def _many(kind: bytes) -> list[Hostile]:
    """Five million members, which nobody keeps."""
    what = {b"0": "files", b"5": "folders", b"2": "links"}[kind]

    def build(scene: Scene) -> Iterator[bytes]:
        yield header("fine", b"x")
        for number in range(_FIVE_MILLION):
            yield header(f"d{number // 1000}/{number}", kind=kind, target="x" * (kind == b"2"))

    return [Hostile(f"five-million-{what}", build, "'d")]


def _long_names(scene: Scene) -> Iterator[bytes]:
    """Names of four bytes a character in memory, each with a twin key of its own."""
    yield header("fine", b"x")
    for number in range(_FIVE_MILLION):
        name = f"{number}/" + "/".join(["Ü" * 120 + "\U0001f600"] * 7)
        yield pax({"path": name}) + header("x")


def _implied_folders(scene: Scene) -> Iterator[bytes]:
    yield header("fine", b"x")
    for number in range(_FIVE_MILLION):
        yield header(f"{number}/" + "d/" * 40 + "x")


def _forever(name: str, part: bytes, says: str) -> Hostile:
    return Hostile(
        name, lambda s: itertools.chain([header("fine", b"x")], itertools.repeat(part)), says
    )


def _links_in_knots(scene: Scene) -> Iterator[bytes]:
    """Each link passes through the one before it twice: two to the power of their number."""
    yield header("fine", b"x")
    yield header("l0", kind=b"2", target="a")
    for number in range(1, 10_000):
        yield header(f"l{number}", kind=b"2", target="/".join([f"l{number - 1}"] * 15))
    yield END


def _long_link_targets(scene: Scene) -> Iterator[bytes]:
    yield header("fine", b"x")
    for number in range(15_000):
        yield pax({"linkpath": "a/" * 1000}) + header(f"l{number}", kind=b"2")
    yield END


ARCHIVES = (
    Hostile("gzip-bomb", _gzip_bomb, "200 times its size (in 'bomb')"),
    Hostile("zstd-bomb", _zstd_bomb, "200 times its size (in 'bomb')"),
    Hostile(
        "gzip-bomb-of-zeros-after-the-end",
        _zeros_after_the_end,
        "200 times its size (after 'fine')",
    ),
    Hostile("bomb-in-gzip-in-gzip-in-zstd", _nested, "not an archive"),
    Hostile("empty-gzip-members", _empty_gzip_members, "in a row that hold nothing"),
    Hostile("empty-zstd-frames", _skippable_zstd_frames, "hold nothing (after 'fine')"),
    Hostile(
        "zstd-window-of-two-gigabytes",
        lambda s: [b"\x28\xb5\x2f\xfd\x00\xa8" + bytes(600)],
        "damaged",
    ),
    *_many(b"0"),
    *_many(b"5"),
    *_many(b"2"),
    Hostile("long-names", _long_names, "Ü...' its names take more than"),
    Hostile("folders-that-are-only-implied", _implied_folders, "/d/d' it has more than"),
    Hostile(
        "extended-header-of-a-terabyte", of(header("P", kind=b"x", size=2**40)), "after 'fine'"
    ),
    Hostile("long-name-of-eight-gigabytes", of(header("L", kind=b"L", size=2**33)), "after 'fine'"),
    Hostile("long-link-of-eight-gigabytes", of(header("K", kind=b"K", size=2**33)), "after 'fine'"),
    _forever("endless-extended-headers", pax({"path": "a"}), "after 'fine'"),
    _forever("endless-long-names", header("L", b"a\0", kind=b"L"), "after 'fine'"),
    _forever("endless-global-headers", pax({"comment": "x" * 60_000}, kind=b"g"), "after 'fine'"),
    _forever("endless-global-records", header("g", b"6 a=b\n" * 10_000, kind=b"g"), "after 'fine'"),
    _forever("endless-header-of-one-name", header("fine", b"x"), "'fine' stands in it twice"),
    Hostile("links-in-knots", _links_in_knots, "'l"),
    Hostile("links-with-long-targets", _long_link_targets, "'l"),
)
