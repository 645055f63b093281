"""Frames: what is none is refused by the rule that it breaks, before anything is made of it."""

from __future__ import annotations

import re
import tracemalloc

import msgpack
import pytest

from protocol.codec import (
    LIMITS,
    MAX_FRAME,
    DecodeError,
    decode_from_agent,
    decode_from_coordinator,
    encode,
)
from protocol.lines import close_reason, one_line
from protocol.messages import Heartbeat, InstanceState, Inventory, RetainedRelease
from protocol.states import InstanceStatus
from tests.parts.bad_frames import BAD_FRAMES, TOO_LONG, Bad

ROOM = 2 * 1024 * 1024
"""Bytes that refusing a frame may take besides the frame itself."""


@pytest.mark.parametrize("bad", BAD_FRAMES, ids=lambda bad: bad.name)
def test_each_is_refused_by_its_rule_in_either_direction(bad: Bad) -> None:
    for decode in (decode_from_agent, decode_from_coordinator):
        with pytest.raises(DecodeError, match=bad.rule) as refused:
            decode(bad.data)
        assert str(refused.value).isprintable()
        assert len(str(refused.value)) <= 500


@pytest.mark.parametrize("bad", BAD_FRAMES, ids=lambda bad: bad.name)
def test_refusing_takes_no_more_room_than_the_frame(bad: Bad) -> None:
    decode_from_agent(encode(Heartbeat(number=1)))
    tracemalloc.start()
    with pytest.raises(DecodeError):
        decode_from_agent(bad.data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < ROOM


def test_a_frame_of_more_than_four_megabytes_is_refused() -> None:
    with pytest.raises(DecodeError, match=f"at most {MAX_FRAME}"):
        decode_from_agent(TOO_LONG)


def test_the_largest_that_is_allowed_takes_no_more_than_its_limit() -> None:
    """A map is the dearest item: about 64 bytes for one byte of the frame."""
    rest = LIMITS.items - 6
    frame = b"\x82\xa4type\xa9heartbeat\xa4more\xdd" + rest.to_bytes(4, "big") + b"\x80" * rest
    with pytest.raises(DecodeError, match="number"):
        decode_from_agent(frame)
    tracemalloc.start()
    with pytest.raises(DecodeError, match="number"):
        decode_from_agent(frame)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * 1024 * 1024


def test_an_inventory_of_all_instances_that_a_host_may_have_fits() -> None:
    states = [
        InstanceState(
            instance_id=f"instance-{number}",
            service="user-service",
            status=InstanceStatus.RUNNING,
            version="v1.2.3",
            digest="a" * 64,
            metadata={"zone": "a", "rack": "b"},
            retained=[RetainedRelease(version=f"v{n}", digest="b" * 64) for n in range(4)],
        )
        for number in range(4096)
    ]
    frame = Inventory(instances=states)
    assert decode_from_agent(encode(frame)) == frame


@pytest.mark.parametrize("value", [0, 1, -1, -(2**63), 2**63 - 1, 1.5, True, None, "é", "a" * 300])
def test_what_a_newer_version_adds_is_looked_past(value: object) -> None:
    more = {"more": [value, {"key": value}], "wide": [value] * 5_000, "deep": [[[[[value]]]]]}
    data = msgpack.packb({"type": "heartbeat", "number": 7, **more})
    assert decode_from_agent(data) == Heartbeat(number=7)


@pytest.mark.parametrize(
    "text", ["", "plain", "é" * 200, "\x1b[2J" * 99, "a" * 121 + "🚢🚢", "\ud800"]
)
def test_a_close_reason_is_whole_characters_and_fits(text: str) -> None:
    reason = close_reason(text)
    assert len(reason) <= 123
    assert reason.decode().isprintable()


@pytest.mark.parametrize("text", ["a\nb", "\r", "\x1b[31m", "\u2028", "\u202e", "\x00", "\x85"])
def test_one_line_is_one_line(text: str) -> None:
    assert one_line(text, 100).isprintable()
    assert len(one_line(text * 1000, 100)) == 100
    assert re.fullmatch(r"[ -~…]+", one_line(text, 100))
