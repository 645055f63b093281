"""URLs of packages: what is accepted, and where the signature of one is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from yarl import URL

from agent.package_url import parse_url, redirected, shown_url, signature_url
from agent.ports import StepError

BASE = URL("https://packages.example.com/a.tar.gz")

ODD_HOSTS = [
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0X7F.1",
    "0177.0.0.1",
    "127.1",
    "127.0.1",
    "127.0.0.01",
    "127.0.0.1.5",
    "example.0x10",
    "example.10",
    "[fe80::1%25eth0]",
    "[fe80::1%eth0]",
    "[::1%25lo]",
    "%31%32%37.0.0.1",
    "a%2eexample",
]


@pytest.mark.parametrize("host", ODD_HOSTS)
@pytest.mark.parametrize("read", [parse_url, partial(redirected, BASE)], ids=["given", "sent-to"])
def test_a_host_that_only_some_read_as_an_address_is_refused(
    read: Callable[[str], URL], host: str
) -> None:
    with pytest.raises(StepError, match=r"no plain name or address|not a valid|no valid") as no:
        read(f"https://{host}/a.tar?key=s3cret")
    assert not no.value.passing
    assert "s3cret" not in no.value.message


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://127.0.0.1/a", "127.0.0.1"),
        ("https://[::1]/a", "::1"),
        ("https://a-1.example.com:8443/a", "a-1.example.com"),
        ("https://host_1/a", "host_1"),
        ("https://\uff11\uff12\uff17.0.0.1/a", "127.0.0.1"),
        ("https://bücher.example/a", "xn--bcher-kva.example"),
    ],
)
def test_plain_names_and_addresses_are_taken_for_what_they_are(url: str, host: str) -> None:
    assert parse_url(url).raw_host == host


@pytest.mark.parametrize("user", ["me", "me:s3cret", ":s3cret", "", "a%40b"])
def test_user_info_is_refused_and_not_shown(user: str) -> None:
    with pytest.raises(
        StepError, match=r"https://packages\.example/a: a package URL with user info"
    ):
        parse_url(f"https://{user}@packages.example/a?key=s3cret")
    with pytest.raises(StepError, match="with user info: refused") as no:
        redirected(BASE, f"https://{user}@packages.example/a?key=s3cret")
    assert "s3cret" not in no.value.message


@pytest.mark.parametrize(
    ("url", "beside"),
    [
        ("https://p.example/a.tar.gz", "https://p.example/a.tar.gz.minisig"),
        ("https://p.example:8443/a?key=a%2Bb", "https://p.example:8443/a.minisig?key=a%2Bb"),
        ("https://p.example/a%20b?x#part", "https://p.example/a%20b.minisig?x"),
        ("https://[::1]/a", "https://[::1]/a.minisig"),
    ],
)
def test_the_signature_is_beside_the_path_and_keeps_the_query(url: str, beside: str) -> None:
    assert str(signature_url(parse_url(url))) == beside


def test_a_url_is_shown_without_what_may_be_secret() -> None:
    assert shown_url(URL("https://me:pw@p.example/a?key=s3cret#s3cret")) == "https://p.example/a"
