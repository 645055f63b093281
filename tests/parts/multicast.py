"""Whether this machine carries multicast on its loopback: tried, not guessed."""

from __future__ import annotations

import socket
import struct

import pytest

LOOPBACK = ("127.0.0.1",)
_GROUP, _PORT = "239.255.73.21", 0


def why_not() -> str:
    """Send one datagram to a group on the loopback; return "" if it arrives, else the reason."""
    here = socket.inet_aton("127.0.0.1")
    try:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        ):
            listener.bind(("", _PORT))
            member = struct.pack("4s4s", socket.inet_aton(_GROUP), here)
            listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            listener.settimeout(2)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, here)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            sender.sendto(b"ferryman", (_GROUP, listener.getsockname()[1]))
            listener.recv(64)
    except OSError as error:
        return f"no multicast on the loopback: {error}"
    return ""


_REASON = why_not()
needs_multicast = pytest.mark.skipif(bool(_REASON), reason=_REASON)
"""For tests that find each other by mDNS; on CI a skip is a failure."""
