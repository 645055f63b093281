"""The shape of a msgpack document, looked at before a single object is made of it.

A megabyte can stand for a million objects, so what is counted is what the bytes say, over all
nested containers together. Nothing is decoded here, and nothing is believed: a length that
leads past the end is an error like any other. `ShapeError` says which limit was passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class ShapeError(ValueError):
    """The document breaks a limit, or is none."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one document may hold. A key and its value count as two items."""

    depth: int
    """Containers inside each other, the outermost one included."""
    items: int
    """Values, keys and containers, all together."""
    text: int
    """Bytes of one text."""


class _Kind(Enum):
    PLAIN = "plain"
    TEXT = "text"
    CONTAINER = "container"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class _Head:
    """What a first byte says: `size` is in that byte itself, or in the `wide` bytes behind it."""

    kind: _Kind
    size: int = 0
    wide: int = 0
    each: int = 0
    """How many items an entry of a container is; 0 for what is no container."""


def _heads() -> list[_Head]:
    plain = {0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8}
    plain |= {0xCC + power: 1 << power for power in range(4)}
    plain |= {0xD0 + power: 1 << power for power in range(4)}
    made = [_Head(_Kind.BAD)] * 256
    for first in range(0x80):
        made[first] = _Head(_Kind.PLAIN)
    for size in range(16):
        made[0x80 + size] = _Head(_Kind.CONTAINER, size, each=2)
        made[0x90 + size] = _Head(_Kind.CONTAINER, size, each=1)
    for size in range(32):
        made[0xA0 + size] = _Head(_Kind.TEXT, size)
        made[0xE0 + size] = _Head(_Kind.PLAIN)
    for first, size in plain.items():
        made[first] = _Head(_Kind.PLAIN, size)
    for power in range(3):
        made[0xD9 + power] = _Head(_Kind.TEXT, wide=1 << power)
    for power in range(2):
        made[0xDC + power] = _Head(_Kind.CONTAINER, wide=2 << power, each=1)
        made[0xDE + power] = _Head(_Kind.CONTAINER, wide=2 << power, each=2)
    return made


_HEADS: Final = tuple(_heads())
_UNSIGNED_64: Final = 0xCF


def check(data: bytes, limits: Limits) -> None:
    """Return if `data` is one document within `limits`; else raise `ShapeError`.

    Whether texts are UTF-8 and keys are texts is for the decoder to say.
    """
    end = len(data)
    at = items = 0
    lacking = [1]
    while lacking:
        if not lacking[-1]:
            lacking.pop()
            continue
        if at >= end:
            raise ShapeError("it ends too early")
        lacking[-1] -= 1
        items += 1
        head = _HEADS[data[at]]
        body = at + 1 + head.wide
        size = int.from_bytes(data[at + 1 : body], "big") if head.wide else head.size
        if head.each:
            lacking.append(size * head.each)
            _check_container(len(lacking) - 1, items + size * head.each, limits)
        else:
            _check_value(head, size, data[at : at + 2], limits)
            body += size
        at = body
    if at != end:
        raise ShapeError("there is more behind its end" if at < end else "it ends too early")


def _check_container(depth: int, items: int, limits: Limits) -> None:
    if depth > limits.depth:
        raise ShapeError(f"nested deeper than {limits.depth}")
    if items > limits.items:
        raise ShapeError(f"more than {limits.items} items")


def _check_value(head: _Head, size: int, begin: bytes, limits: Limits) -> None:
    if head.kind is _Kind.BAD:
        raise ShapeError(f"a value of the type 0x{begin[0]:02x}, which is not accepted")
    if head.kind is _Kind.TEXT and size > limits.text:
        raise ShapeError(f"a text of {size} bytes; at most {limits.text} are accepted")
    if begin[0] == _UNSIGNED_64 and begin[1:] >= b"\x80":
        raise ShapeError("an integer of more than 63 bits")
