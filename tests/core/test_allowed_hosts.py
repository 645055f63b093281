"""`allowed_hosts`: what a rule names, and which addresses are of no package."""

from __future__ import annotations

import pytest

from agent.allowed_hosts import AllowedHosts, HostRule

METADATA = "a cloud's metadata service"


def allowed(*rules: str) -> AllowedHosts:
    return AllowedHosts([HostRule.parse(rule) for rule in rules])


@pytest.mark.parametrize(
    ("rule", "host", "port", "named"),
    [
        ("packages.example.com", "packages.example.com", 443, True),
        ("packages.example.com", "PACKAGES.Example.com.", 8443, True),
        ("Packages.Example.com.", "packages.example.com", 443, True),
        ("packages.example.com", "evil-packages.example.com", 443, False),
        ("packages.example.com", "packages.example.com.evil.org", 443, False),
        ("packages.example.com:8443", "packages.example.com", 8443, True),
        ("packages.example.com:8443", "packages.example.com", 443, False),
        ("*.internal.example", "a.internal.example", 443, True),
        ("*.internal.example", "a.b.internal.example", 443, True),
        ("*.internal.example", "internal.example", 443, False),
        ("*.internal.example", "evilinternal.example", 443, False),
        ("*.internal.example:8443", "a.internal.example", 443, False),
        ("10.0.0.0/8", "10.1.2.3", 443, True),
        ("10.0.0.0/8", "11.1.2.3", 443, False),
        ("10.0.0.0/8", "::ffff:10.1.2.3", 443, True),
        ("10.0.0.0/8", "packages.example.com", 443, False),
        ("10.0.0.5", "10.0.0.5", 443, True),
        ("10.0.0.5:8443", "10.0.0.5", 8443, True),
        ("10.0.0.5:8443", "10.0.0.5", 443, False),
        ("8.8.8.8", "8.8.8.8", 443, True),
        ("8.8.8.8", "8.8.4.4", 443, False),
        ("fd00::/8", "fd00::1", 443, True),
        ("fd00::1", "fd00::1", 443, True),
        ("[fd00::1]:8443", "fd00::1", 8443, True),
        ("[fd00::1]:8443", "fd00::1", 443, False),
        ("127.0.0.1", "localhost", 443, False),
    ],
)
def test_a_rule_names_hosts(rule: str, host: str, port: int, named: bool) -> None:
    why = allowed(rule).refuse_host(host, port)
    assert (why == "") is named
    if not named:
        assert "allowed_hosts does not name" in why


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "*",
        "*.",
        "*.10.0.0.1",
        "a.*.example",
        "https://packages.example.com",
        "packages.example.com/path",
        "packages.example.com:0",
        "packages.example.com:http",
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0",
        "10.0.0.0/8:443",
        "2130706433",
        "fe80::1%eth0",
        "[fd00::1",
        "user@packages.example.com",
        "a b",
        "bücher.example",
    ],
)
def test_what_is_no_rule_is_refused_with_what_is_accepted(rule: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        HostRule.parse(rule)


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("169.254.169.254", "link-local"),
        ("169.254.0.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::a9fe:a9fe%eth0", "link-local"),
        ("febf::1", "link-local"),
        ("::ffff:169.254.169.254", "link-local"),
        ("::ffff:0:169.254.169.254", "link-local"),
        ("::169.254.169.254", "link-local"),
        ("64:ff9b::169.254.169.254", "link-local"),
        ("2002:a9fe:a9fe::1", "link-local"),
        ("0.0.0.0", "no host's address"),
        ("0.1.2.3", "no host's address"),
        ("::", "no host's address"),
        ("255.255.255.255", "no host's address"),
        ("240.0.0.1", "no host's address"),
        ("224.0.0.251", "multicast"),
        ("ff02::fb", "multicast"),
        ("fd00:ec2::254", METADATA),
        ("fd20:ce::254", METADATA),
        ("100.100.100.200", METADATA),
        ("168.63.129.16", METADATA),
        ("192.0.0.192", METADATA),
    ],
)
def test_addresses_of_no_package_are_refused_whatever_the_rules_are(
    address: str, what: str
) -> None:
    everything = allowed("0.0.0.0/0", "::/0", "*.example")
    for hosts in (AllowedHosts(), everything):
        assert hosts.refuse_address(address, 443) == (
            f"{address} is {what}, and allowed_hosts does not name it"
        )
        assert hosts.refuse_host(address, 443)


@pytest.mark.parametrize(
    ("rule", "address"),
    [
        ("169.254.10.0/24", "169.254.10.1"),
        ("169.254.169.254", "169.254.169.254"),
        ("169.254.169.254", "::ffff:169.254.169.254"),
        ("fd00:ec2::254", "fd00:ec2::254"),
        ("fe80::/10", "fe80::1%eth0"),
    ],
)
def test_a_rule_within_their_range_allows_them(rule: str, address: str) -> None:
    assert allowed(rule).refuse_address(address, 443) == ""


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("10.0.0.1", "private"),
        ("172.16.0.1", "private"),
        ("192.168.0.1", "private"),
        ("100.64.0.1", "private"),
        ("fd12:3456::1", "private"),
        ("64:ff9b:1::1", "private"),
        ("::ffff:10.0.0.1", "private"),
        ("2002:0a00:0001::1", "private"),
        ("127.0.0.1", "loopback"),
        ("127.9.9.9", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
    ],
)
def test_private_and_loopback_ones_will_do_until_rules_do_not_name_them(
    address: str, what: str
) -> None:
    assert AllowedHosts().refuse_address(address, 443) == ""
    assert allowed("packages.example.com").refuse_address(address, 443) == (
        f"{address} is {what}, and allowed_hosts does not name it"
    )
    assert allowed("0.0.0.0/0", "::/0").refuse_address(address, 443) == ""


@pytest.mark.parametrize("address", ["8.8.8.8", "2a00:1450::1", "64:ff9b::8.8.8.8"])
def test_a_name_may_lead_to_any_public_address(address: str) -> None:
    assert allowed("packages.example.com").refuse_address(address, 443) == ""
