"""Frames that are none, each with the words that must tell why."""

from __future__ import annotations

from dataclasses import dataclass

import msgpack

from protocol.codec import LIMITS, MAX_FRAME


@dataclass(frozen=True, slots=True)
class Bad:
    """`rule` is what the refusal must say."""

    name: str
    data: bytes
    rule: str


def _heartbeat(number: bytes) -> bytes:
    return b"\x82\xa4type\xa9heartbeat\xa6number" + number


def _nested(levels: int) -> bytes:
    return b"\x82\xa4type\xa9heartbeat\xa4more" + b"\x91" * levels + b"\xc0"


def _text_of(size: int) -> bytes:
    return b"\x82\xa4type\xa9heartbeat\xa4more\xdb" + size.to_bytes(4, "big") + b"a" * size


BAD_FRAMES = [
    Bad("nothing", b"", "ends too early"),
    Bad("a type that msgpack reserves", b"\xc1", "type 0xc1"),
    Bad("a number", b"\x07", "frame"),
    Bad("a list", b"\x93\x01\x02\x03", "frame"),
    Bad("a megabyte of maps", b"\xdd\x00\x10\x00\x00" + b"\x80" * (1 << 20), "items"),
    Bad("a million lists in lists", (b"\xdc\x00\x40" + b"\x90" * 64) * 16_000, "items|behind"),
    Bad(
        "two short texts, a million times", b"\xdd\x00\x10\x00\x00" + b"\xa2ab" * (1 << 20), "items"
    ),
    Bad("a list that promises four billion", b"\xdd\xff\xff\xff\xff", "items"),
    Bad("a map that promises four billion", b"\xdf\xff\xff\xff\xff", "items"),
    Bad("lists in lists in lists", _nested(LIMITS.depth), "nested deeper"),
    Bad("a million lists in each other", b"\x91" * (1 << 20), "nested deeper"),
    Bad("a long text", _text_of(LIMITS.text + 1), "text of 65537 bytes"),
    Bad("a text that promises more than there is", _heartbeat(b"\xd9\xff"), "ends too early"),
    Bad("cut off", _heartbeat(b"\xcf\x00\x00"), "ends too early"),
    Bad("something behind the end", _heartbeat(b"\x01") + b"\xc0", "behind its end"),
    Bad("an integer of 64 bits", _heartbeat(b"\xcf" + b"\xff" * 8), "63 bits"),
    Bad("a negative number", _heartbeat(b"\xff"), "number|tag"),
    Bad("a number that is none", _heartbeat(b"\xcb\x7f\xf8" + bytes(6)), "number|tag"),
    Bad("no UTF-8", _heartbeat(b"\xa2\xff\xfe"), "UTF-8"),
    Bad("half of a surrogate pair", _heartbeat(b"\xa3\xed\xa0\x80"), "UTF-8"),
    Bad("bytes", _heartbeat(b"\xc4\x01a"), "type 0xc4"),
    Bad("an extension", _heartbeat(b"\xd4\x01\x00"), "type 0xd4"),
    Bad("a time", _heartbeat(b"\xd6\xff" + bytes(4)), "type 0xd6"),
    Bad("an empty extension", _heartbeat(b"\xc7\x00\x01"), "type 0xc7"),
    Bad("a key twice", b"\x83\xa4type\xa9heartbeat\xa6number\x01\xa6number\x02", "twice"),
    Bad("a key that is a number", b"\x82\xa4type\xa9heartbeat\x01\x02", "msgpack"),
    Bad("a key that is a list", b"\x82\xa4type\xa9heartbeat\x90\x02", "msgpack"),
    Bad("no type", b"\x80", "type"),
    Bad("an unknown type", msgpack.packb({"type": "dance"}), "type"),
    Bad("a type with an escape", msgpack.packb({"type": "\x1b[2J\r\n\u2028"}), "type"),
    Bad("a type that is a list", msgpack.packb({"type": ["heartbeat"]}), "type"),
]
"""All of them are for either direction."""

TOO_LONG = (
    b"\x82\xa4type\xa9heartbeat\xa4more\xdb" + MAX_FRAME.to_bytes(4, "big") + bytes(MAX_FRAME)
)
