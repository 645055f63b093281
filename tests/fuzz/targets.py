"""What is fuzzed: each target takes bytes, and nothing but its declared exceptions comes out."""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from multidict import MultiDict
from yarl import URL

from agent.archive import ArchiveReader
from agent.config import AgentConfig
from agent.limits import Limits
from agent.package_bytes import PackageBytes
from agent.ports import StepError
from coordinator.config import Settings
from coordinator.http.inputs import made_params
from coordinator.http.routes import ROUTES
from protocol.codec import DecodeError, decode_from_agent, decode_from_coordinator, encode
from protocol.errors import InvalidRequestError
from protocol.settings import SettingsError, load

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SMALL = Limits(unpacked=1 << 20, members=200, names=1 << 14, links=50)
BLOCK = 512
MENDED = 0x80
"""In the first byte of an archive's input: give every block the checksum of a header."""

_SCRATCH = Path(tempfile.mkdtemp(prefix="ferryman-fuzz-"))


def codec(data: bytes) -> None:
    """A frame of either direction; what was taken in can be sent again."""
    for decode in (decode_from_agent, decode_from_coordinator):
        try:
            frame = decode(data)
        except DecodeError as error:
            _is_plain(str(error))
        else:
            assert decode(encode(frame)) == frame


def archive(data: bytes) -> None:
    """A package, read to its end; the first byte says how it comes."""
    way, rest = (data[0], data[1:]) if data else (0, b"")
    if way & MENDED:
        rest = _mended(rest)
    match way % 3:
        case 1:
            rest = gzip.compress(rest, 1)
        case 2:
            rest = zstd.compress(rest, 1)
    pieces = iter([rest[:100], rest[100:], b""])
    try:
        reader = ArchiveReader(PackageBytes(lambda: next(pieces, b"")), SMALL)
        for member in reader.members():
            assert not member.path.startswith("/"), member
            assert ".." not in member.path.split("/"), member
            assert sum(map(len, reader.content())) == member.size
    except StepError as error:
        _is_plain(error.message)


def _mended(data: bytes) -> bytes:
    """The same bytes, with a right checksum in each block."""
    made = bytearray(data)
    for at in range(0, len(made) - BLOCK + 1, BLOCK):
        made[at + 148 : at + 156] = b" " * 8
        made[at + 148 : at + 156] = b"%06o\0 " % sum(made[at : at + BLOCK])
    return bytes(made)


def settings(data: bytes) -> None:
    """Both daemons' configurations."""
    file = _SCRATCH / "settings.toml"
    file.write_bytes(data)
    for model in (AgentConfig, Settings):
        try:
            load(model, file)
        except SettingsError as error:
            _is_plain(error.message.replace("\n", " "))


def http(data: bytes) -> None:
    """A route, its path, query and body: the first byte names the route, a zero ends each."""
    number, rest = (data[0], data[1:]) if data else (0, b"")
    route = ROUTES[number % len(ROUTES)]
    path, _, rest = rest.partition(b"\0")
    query, _, body = rest.partition(b"\0")
    names = list(route.path_fields)
    in_path = dict.fromkeys(names, path.decode("utf-8", "surrogateescape"))
    asked = URL.build(query_string=query.decode("latin-1"), encoded=True).query
    try:
        made = made_params(route, in_path, MultiDict(asked), body)
    except InvalidRequestError as error:
        json.dumps(error.details)
        _is_plain(error.message or "\n")
    else:
        assert made.model_dump_json()


def broken(data: bytes) -> None:
    """What a target with a fault looks like: the test that the fuzzer finds something needs it."""
    if len(data) > 64:
        raise IndexError(len(data))


def _is_plain(text: str) -> None:
    """A refusal says something, and nothing that a log could not hold."""
    if not text or not text.isprintable():
        raise AssertionError(f"says {text!r}")


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "codec": codec,
    "archive": archive,
    "settings": settings,
    "http": http,
}
