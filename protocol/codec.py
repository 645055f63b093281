"""Bytes to frame and back: the shape first, then msgpack, then one validation by type.

`DecodeError` is the only exception that decoding raises, and its text is safe to print
and to send back. Nothing here knows what a frame means.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Generic, TypeVar

import msgpack
from pydantic import BaseModel, TypeAdapter, ValidationError

from protocol.lines import one_line
from protocol.messages import ToAgent, ToCoordinator
from protocol.shape import Limits, ShapeError, check

MAX_FRAME = 4 * 1024 * 1024
"""Bytes in one frame, either way. An inventory of 4,096 instances fits."""

LIMITS = Limits(depth=8, items=262_144, text=65_536)
"""64 items for each of 4,096 instances."""

F = TypeVar("F")

PRICED = 4096
"""So many bytes of a frame cost as much again as a frame does."""


class DecodeError(ValueError):
    """The bytes are no frame of this protocol."""


def encode(frame: BaseModel) -> bytes:
    """One frame as bytes."""
    packed: bytes = msgpack.packb(frame.model_dump(mode="json"), use_bin_type=True)
    if len(packed) > MAX_FRAME:
        raise ValueError(f"a frame of {len(packed)} bytes is longer than {MAX_FRAME}")
    return packed


def cost(data: bytes | bytearray) -> float:
    """What taking in so many bytes costs, measured in small frames."""
    return 1.0 + len(data) / PRICED


class Decoder(Generic[F]):
    """Decodes the frames of one direction. Each side needs one of the two: built when used."""

    def __init__(self, union: Any) -> None:
        self._union = union

    @cached_property
    def _adapter(self) -> TypeAdapter[F]:
        return TypeAdapter(self._union)

    def __call__(self, data: bytes) -> F:
        """Return the frame in `data`, or raise `DecodeError` saying what is wrong with it."""
        if len(data) > MAX_FRAME:
            raise DecodeError(f"frame of {len(data)} bytes; at most {MAX_FRAME} are accepted")
        try:
            check(data, LIMITS)
            raw = msgpack.unpackb(
                data,
                raw=False,
                strict_map_key=True,
                max_str_len=LIMITS.text,
                max_bin_len=0,
                max_ext_len=0,
                max_array_len=LIMITS.items,
                max_map_len=LIMITS.items,
                object_pairs_hook=_unique_keys,
            )
        except DecodeError:
            raise
        except ShapeError as error:
            raise DecodeError(str(error)) from None
        except UnicodeDecodeError:
            raise DecodeError("a text that is not UTF-8") from None
        except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
            raise DecodeError(f"not a msgpack frame: {type(error).__name__}") from None
        try:
            return self._adapter.validate_python(raw)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "frame"
            raise DecodeError(one_line(f"{where}: {first['msg']}", longest=500)) from None


def _unique_keys(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise DecodeError("a key stands twice in one map")
    return made


decode_from_agent: Decoder[ToCoordinator] = Decoder(ToCoordinator)
decode_from_coordinator: Decoder[ToAgent] = Decoder(ToAgent)
