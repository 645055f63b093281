"""`HOST:PORT` as text and as parts, with IPv6 addresses in brackets: one definition for all."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?", re.ASCII)
_NUMBERS = re.compile(r"[0-9.]+", re.ASCII)

ENDPOINT_RULE = "HOST:PORT, an IPv6 address in brackets, such as 0.0.0.0:7420 or [::1]:7420"
URL_RULE = "https://HOST:PORT, such as https://10.0.0.1:7420 or https://[fd00::1]:7420"


def parse_endpoint(text: str, *, lowest_port: int = 1) -> tuple[str, int]:
    """Return (host, port), the host without brackets; else raise ValueError."""
    problem = ValueError(f"must be {ENDPOINT_RULE}")
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise problem
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    if bracketed != (":" in host) or not is_host(host):
        raise problem
    if not lowest_port <= int(port) <= 65535:
        raise ValueError(f"the port must be from {lowest_port} to 65535")
    return host, int(port)


def format_endpoint(host: str, port: int) -> str:
    """`host` and `port` as `HOST:PORT`, bracketed where needed."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_url(text: str) -> str:
    """Return a coordinator's URL as `https://HOST:PORT`, or raise ValueError."""
    problem = ValueError(f"must be {URL_RULE}")
    if not text.isascii() or any(c.isspace() or not c.isprintable() for c in text):
        raise problem
    try:
        parts = urlsplit(text)
        host, port = parse_endpoint(parts.netloc)
    except ValueError:
        raise problem from None
    if parts.scheme != "https" or parts.path not in ("", "/") or "?" in text or "#" in text:
        raise problem
    return f"https://{format_endpoint(host, port)}"


def is_host(text: str) -> bool:
    """Whether `text` can be a host's name or address (IPv6 without brackets)."""
    if is_address(text):
        return True
    return len(text) <= 253 and bool(_NAME.fullmatch(text)) and not _NUMBERS.fullmatch(text)


def is_address(text: str) -> bool:
    """Whether `text` is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine itself, however it is called."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host).is_loopback)
