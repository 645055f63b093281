"""One 512-byte header of a tar archive, read strictly. Pure.

What Python's `tarfile` guesses at is refused here: numbers with signs, underscores or
letters, negative ones, and a checksum that is wrong. Names are as they stand there; whether
one is acceptable is not decided here.
"""

from __future__ import annotations

from dataclasses import dataclass

BLOCK = 512

FILE, OLD_FILE, CONTIGUOUS = b"0", b"\0", b"7"
HARD_LINK, SYMLINK = b"1", b"2"
CHARACTER_DEVICE, BLOCK_DEVICE, FOLDER, FIFO = b"3", b"4", b"5", b"6"
GNU_LONG_NAME, GNU_LONG_LINK, GNU_SPARSE = b"L", b"K", b"S"
PAX, PAX_OF_SUN, PAX_GLOBAL = b"x", b"X", b"g"

_MAX_NUMBER = 2**63 - 1


class DamagedHeaderError(ValueError):
    """A block that is no header."""


@dataclass(frozen=True, slots=True)
class Header:
    """What counts of a header. `name` and `target` are bytes as text, undecodable ones escaped."""

    type: bytes
    name: str
    target: str
    size: int
    mode: int


def parse(block: bytes) -> Header:
    """Read a header; raises `DamagedHeaderError`.

    Only the POSIX format has a prefix of the name. A negative size is returned as it is.
    """
    _check_sum(block)
    name = _until_nul(block[:100])
    if block[257:263] == b"ustar\0" and (prefix := _until_nul(block[345:500])):
        name = prefix + b"/" + name
    return Header(
        type=block[156:157],
        name=text(name),
        target=text(_until_nul(block[157:257])),
        size=_number(block[124:136]),
        mode=_number(block[100:108]),
    )


def text(data: bytes) -> str:
    """A name's bytes as text; what is not UTF-8 is kept as lone surrogates."""
    return data.decode("utf-8", "surrogateescape")


def _until_nul(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def _check_sum(block: bytes) -> None:
    told = _number(block[148:156])
    rest = block[:148] + block[156:]
    plain = sum(rest) + 8 * 0x20
    # Old programs added the bytes up as if they were signed.
    if told != plain and told != plain - 256 * sum(byte > 127 for byte in rest):
        raise DamagedHeaderError("its checksum is wrong")


def _number(field: bytes) -> int:
    """A number in octal digits, or in base 256 if the first bit is set."""
    if field[0] & 0x80:
        value = int.from_bytes(field[1:], "big")
        if field[0] == 0xFF:
            return value - (1 << 8 * (len(field) - 1))
        if field[0] != 0x80 or value > _MAX_NUMBER:
            raise DamagedHeaderError("a number in it is out of range")
        return value
    digits = field.split(b"\0", 1)[0].strip(b" ")
    if not digits:
        return 0
    try:
        if digits.isdigit():
            return int(digits, 8)
    except ValueError:
        pass
    raise DamagedHeaderError("a number in it is not octal")
