"""A package's URL: what is accepted, what is shown of it, and where its signature is.

Https only, no user info, and a host that is a plain name or address: forms that only some
programs read as an address (`0x7f.1`, `2130706433`, `0177.0.0.1`, a zone id) are refused, so
that what is checked is what is connected to. A URL is shown without its query, which may be a
signature. Whether the host is allowed is not looked at here.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address

from yarl import URL

from agent.ports import StepError
from protocol.endpoints import is_host

SIGNATURE_SUFFIX = ".minisig"

_NUMBER = re.compile(r"0x[0-9a-f]*|[0-9]+", re.ASCII | re.IGNORECASE)


def shown_url(url: URL) -> str:
    """Return scheme, host and path of a URL: all that a message may hold of it."""
    return str(url.with_user(None).with_query(None).with_fragment(None))


def parse_url(text: str) -> URL:
    """A URL as it was given: re-quoting it might break its signature. Raises `StepError`."""
    plain = text.isascii() and text.isprintable() and " " not in text
    try:
        url = URL(text, encoded=plain)
        whole = url.scheme and _can_be_asked(url)
        with_user = _has_user(url)
    except ValueError:
        whole = with_user = False
    if not whole:
        raise StepError("the package URL is not a valid https:// URL")
    if url.scheme != "https":
        raise StepError(f"{shown_url(url)} is not https")
    if with_user:
        raise StepError(f"{shown_url(url)}: a package URL with user info is refused")
    _check_host(url)
    return url


def redirected(url: URL, location: str) -> URL:
    """Where `url` redirects to. Raises `StepError` for what is no URL of a package."""
    try:
        target = url.join(URL(location, encoded=location.isascii()))
        whole = location and _can_be_asked(target) and location.isprintable()
        with_user = _has_user(target)
    except ValueError:
        whole = with_user = False
    if not whole:
        raise StepError(f"{shown_url(url)} redirects to no valid URL")
    there = f"{shown_url(url)} redirects to {shown_url(target)}"
    if target.scheme != "https":
        raise StepError(f"{there}, which is not https: refused")
    if with_user:
        raise StepError(f"{there} with user info: refused")
    _check_host(target)
    return target


def signature_url(url: URL) -> URL:
    """Where a package's signature is: its path with `.minisig`, and the same query."""
    path = f"{url.raw_path}{SIGNATURE_SUFFIX}"
    query = f"?{url.raw_query_string}" if url.raw_query_string else ""
    return URL(f"{url.scheme}://{url.raw_authority}{path}{query}", encoded=True)


def _can_be_asked(url: URL) -> bool:
    """Whether it has a port, and a host that can be looked up; raises `ValueError`, too."""
    return bool(url.port and url.host and url.host.encode("idna"))


def _has_user(url: URL) -> bool:
    return "@" in url.raw_authority


def _check_host(url: URL) -> None:
    host = (url.raw_host or "").removesuffix(".")
    if not is_host(host) or "%" in host or _is_odd_number(host):
        raise StepError(f"{shown_url(url)}: its host is no plain name or address: refused")


def _is_odd_number(host: str) -> bool:
    """Whether some programs would read this as an IPv4 address, and others as a name."""
    if ":" in host or not _NUMBER.fullmatch(host.rpartition(".")[2]):
        return False
    try:
        return str(IPv4Address(host)) != host
    except ValueError:
        return True
