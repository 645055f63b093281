"""Sizes that lie, and numbers that are none."""

from __future__ import annotations

import gzip

from tests.archives.hostile import Builder, Hostile, members, of
from tests.parts.packages import END, header, pax


def _field(at: int, raw: bytes, *, name: str = "evil") -> bytes:
    """A member with these bytes in its header, and a checksum that is right."""
    block = bytearray(header(name))
    block[at : at + len(raw)] = raw
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _size(name: str, raw: bytes) -> Hostile:
    return Hostile(f"size-{name}", of(_field(124, raw)), "'evil'")


def _zipped(data: bytes) -> Builder:
    return lambda scene: [gzip.compress(data)]


ARCHIVES = (
    Hostile("size-negative", of(header("evil", size=-1)), "'evil' has a negative size"),
    Hostile("size-negative-block", of(header("evil", size=-512)), "'evil' has a negative size"),
    Hostile("size-negative-huge", of(header("evil", size=-(2**80))), "'evil' has a negative size"),
    _size("with-minus", b"-0000000010\0"),
    _size("with-plus", b"+0000000010\0"),
    _size("with-underscore", b"0000_000010\0"),
    _size("with-letters", b"0x000000010\0"),
    _size("with-eights", b"00000000089\0"),
    _size("with-spaces-inside", b"00000 00010\0"),
    _size("of-arabic-digits", "\u0660\u0661\u0662".encode() + b"\0"),
    _size("of-base-256-too-large", b"\x80" + b"\xff" * 11),
    _size("of-base-256-of-another-sign", b"\xbf" + b"\xff" * 11),
    Hostile("mode-garbage", of(_field(100, b"rwxr-xr\0")), "'evil'"),
    Hostile("checksum-wrong", of(b"evil" + bytes(508)), "'evil'"),
    Hostile("checksum-garbage", of(b"evil" + b"\xff" * 508), "after 'fine'"),
    Hostile("size-more-than-there-is", of(header("evil", b"x", size=2**20)), "in 'evil'"),
    Hostile("size-less-than-there-is", of(header("evil", b"x" * 2000, size=1)), "after 'evil'"),
    Hostile("size-of-an-exabyte", of(header("evil", size=2**60)), "'evil'"),
    Hostile(
        "size-more-than-the-package-can-hold",
        of(header("evil", size=2**31)),
        "200 times",
        length=True,
    ),
    Hostile("pax-size-negative", of(pax({"size": "-5"}), header("evil")), "'-5' (after 'fine')"),
    Hostile("pax-size-of-digits", of(pax({"size": "9" * 30}), header("evil")), "(after 'fine')"),
    Hostile("pax-size-hexadecimal", of(pax({"size": "0x10"}), header("evil")), "'0x10'"),
    Hostile("pax-size-superscript", of(pax({"size": "²"}), header("evil")), "(after 'fine')"),
    Hostile("pax-size-lies", of(pax({"size": "9999"}), header("evil", b"x")), "in 'evil'"),
    Hostile("pax-length-lies", of(header("P", b"99 path=a\n", kind=b"x"), header("e")), "'fine'"),
    Hostile("pax-length-zero", of(header("P", b"0 path=a\n", kind=b"x"), header("e")), "'fine'"),
    Hostile("pax-length-huge", of(header("P", b"9" * 400, kind=b"x"), header("e")), "'fine'"),
    Hostile("pax-without-equals", of(header("P", b"8 path\n\n", kind=b"x"), header("e")), "'fine'"),
    Hostile("pax-sun-up", of(pax({"path": "../evil"}, kind=b"X"), header("x")), "'../evil'"),
    Hostile("pax-global-path", of(pax({"path": "../e"}, kind=b"g"), header("x")), "after 'fine'"),
    Hostile("pax-global-size", of(pax({"size": "5"}, kind=b"g"), header("x")), "after 'fine'"),
    Hostile("pax-without-member", of(pax({"path": "a"})), "after 'fine'"),
    Hostile("data-after-the-end", lambda s: [members() + header("late") + END], "after 'fine'"),
    Hostile("no-file", lambda s: [header("d", kind=b"5") + END], "no file"),
    Hostile("nothing", lambda s: [END], "no file"),
    Hostile("gzip-damaged", lambda s: [gzip.compress(members())[:-8] + bytes(8)], "damaged"),
    Hostile("gzip-and-rubbish", lambda s: [gzip.compress(members()) + b"rubbish" * 9], "damaged"),
    Hostile("gzip-of-text", _zipped(b"hello\x1b" * 500), r"begins with 'hello\x1b"),
)
