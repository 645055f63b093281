"""Whose fault a failure is, by its words and by how it went elsewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.core.faults import Spread, verdict
from coordinator.core.signature import read

ALONE = Spread(struck=1, through=0, one_host=True, elsewhere=False, put_back=False)
EVERYWHERE = Spread(struck=4, through=0, one_host=False, elsewhere=False, put_back=False)
NEARLY_EVERYWHERE = replace(EVERYWHERE, through=1)
HERE_ONLY = Spread(struck=1, through=9, one_host=True, elsewhere=True, put_back=True)
ONE_HOST = Spread(struck=3, through=9, one_host=True, elsewhere=True, put_back=True)
WHOLE_FLEET_ON_ONE_HOST = Spread(3, 0, one_host=True, elsewhere=False, put_back=False)

URL = "https://p.example/v2.tar.gz"


def fault(message: str, spread: Spread) -> str:
    return verdict(read(message, set()), spread)[0]


@pytest.mark.parametrize(
    "message",
    [
        "timed out after 300 s: the agent was away",
        "check: the agent ended 3 times during it; both releases were kept",
        "check: ended when the host went down",
        "no space for a package of 5 bytes: 10 must be free, 3 are",
        "no space left for the package: 'a' needs 8000000 bytes, 7 are free",
        "can't make a folder to unpack into: no space left on the disk",
        "can't unpack into /srv/web/releases: Input/output error",
        "the journal can't be written: Read-only file system",
        "start: could not start: [Errno 28] No space left on device: '/srv/web/output.log'",
        "start: could not start: [Errno 12] Cannot allocate memory",
        "the release v2-0d90166bbc76 on disk is damaged: bin/server has another size",
        "no release v1 on disk, and no package URL",
        "switch: release v2 is no longer on disk",
        "nothing is prepared for it on this host, and how it ended is not known here",
        "stop: systemd knows no unit web.service: install it, then `daemon-reload`",
        "stop: unit web.service is masked: `systemctl unmask` it",
        "start: unit web.service can't be loaded (bad-setting): see `systemctl status`",
        "start: systemd could not be asked about web.service: Connection timed out",
        "stop: systemctl stop gave no answer",
        "start: could not start: 'setpriv' (util-linux) is missing on this host",
        "start: the host has no user 'web'",
        "packages can't be unpacked without root's rights: Operation not permitted",
        "this instance is of the service api, not web",
        "stop: command '/usr/local/bin/run' not found in /srv/web/releases/v1",
        "stop: unit web.service did not stop: timeout",
        "commit: the journal can't be written: disk full",
        "timed out while preparing: it waited for other packages of this host for 55.0 s",
        "timed out while preparing: it could not be unpacked fast enough: 7 bytes in 55.0 s",
    ],
)
def test_what_is_the_hosts_fault_wherever_else_it_happens(message: str) -> None:
    assert {fault(message, spread) for spread in (ALONE, EVERYWHERE, HERE_ONLY)} == {"host"}


@pytest.mark.parametrize(
    "message",
    [
        "package refused: the compressed data ends in the middle",
        "package refused: it is a ZIP archive; .tar, .tar.gz and .tar.zst are accepted",
        f"package changed: expected sha256 {'a' * 64}, got {'b' * 64}",
        f"package changed: the task's sha256 is {'a' * 64}, this host got {'b' * 64}",
        "the signature by the key 0123456789ABCDEF is not of these bytes: the package, or its"
        " signature, was changed",
        "the signature is for the service 'api', not web",
        f"{URL} redirects to http://p.example/v2.tar.gz, which is not https: refused",
        f"{URL}: more than 3 redirects",
        "the package URL is not a valid https:// URL",
        "the release v2-0d90166bbc76 on disk is damaged: bin/server has another size;"
        " fetching it anew: package refused: it is empty",
    ],
)
def test_what_is_the_packages_fault_wherever_else_it_came_through(message: str) -> None:
    assert {fault(message, spread) for spread in (ALONE, EVERYWHERE, HERE_ONLY)} == {"package"}


@pytest.mark.parametrize(
    "message",
    [
        f"{URL}: can't connect (Connection refused)",
        f"{URL}: the host name is not known",
        f"{URL}: TLS could not be set up",
        f"{URL}: the server's certificate is not trusted (certificate has expired)",
        f"{URL}: broke off after 0 of 9 bytes: the server closed the connection",
        f"{URL}: refused: 10.0.0.1 is a private address, and allowed_hosts does not name it",
        "the signature is by the key 0123456789ABCDEF, which trusted_keys does not name",
        "package refused: larger than allowed: 9 bytes, at most 8 are accepted",
        "timed out while preparing: the server did not answer for 55.0 s",
        "timed out while preparing: the download stalled for 50.0 s after 1000 of 9000 bytes",
        "max_seconds is over (9 s): the server was too slow: 7 bytes in 9.0 s",
        "timed out after 60 s before the switch; the old version was not touched",
    ],
)
def test_a_way_that_others_went_is_the_hosts_to_mend(message: str) -> None:
    assert fault(message, HERE_ONLY) == "host"
    assert fault(message, ONE_HOST) == fault(message, NEARLY_EVERYWHERE) == "host"
    assert fault(message, EVERYWHERE) == "package"
    assert fault(message, ALONE) == "unknown"
    assert fault(message, WHOLE_FLEET_ON_ONE_HOST) == "unknown", "its network, or the server's?"


def test_a_package_that_is_not_there_is_the_packages_fault_even_for_one() -> None:
    missing = f"{URL}: the server answered 404"
    assert fault(missing, ALONE) == fault(missing, EVERYWHERE) == "package"
    assert fault(missing, HERE_ONLY) == "unknown", "it may be gone since the others came"


def test_a_server_that_is_in_trouble_proves_nothing_of_one() -> None:
    busy = f"{URL}: the server answered 503"
    assert fault(busy, ALONE) == fault(busy, HERE_ONLY) == "unknown"
    assert fault(busy, NEARLY_EVERYWHERE) == "unknown"
    assert fault(busy, EVERYWHERE) == "package"


@pytest.mark.parametrize(
    "message",
    [
        "check: health check http://127.0.0.1:80/ answered 500; not healthy within 3 s",
        "check: health check tcp 127.0.0.1:80: can't connect (Connection refused)",
        "check: exited with status 3 0.1 s after the start; last lines:\nno space left here",
        "healthy at first, then: exited with status 3 9.1 s after the start",
        "check: killed by signal 9 (SIGKILL) 0.1 s after the start",
        "start: unit web.service did not start: exited with status 203 0.0 s after the start",
        "start: command './bin/server' not found in /srv/web/releases/v2-0d90166bbc76",
    ],
)
def test_a_service_that_fails_is_judged_by_the_others_and_by_the_version_before(
    message: str,
) -> None:
    assert fault(message, EVERYWHERE) == "package"
    assert fault(message, WHOLE_FLEET_ON_ONE_HOST) == "package"
    assert fault(message, replace(ALONE, put_back=True)) == "package"
    assert fault(message, ALONE) == fault(message, HERE_ONLY) == "unknown"
    assert fault(message, NEARLY_EVERYWHERE) == "unknown", "what others came through is well"
    assert fault(message, ONE_HOST) == "host"


def test_what_a_service_wrote_accuses_nobody() -> None:
    told = "check: it restarted by itself; last lines:\npackage refused: the agent was away"
    assert fault(told, ALONE) == "unknown"


def test_words_that_no_rule_knows_are_of_unknown_fault() -> None:
    for message in ("", "something else", "timed out after 60 s before it began"):
        assert fault(message, EVERYWHERE) == "unknown"


def test_every_verdict_says_why() -> None:
    assert verdict(read("check: it ended", set()), EVERYWHERE) == (
        "package",
        "4 failed alike, none came through",
    )
    assert verdict(read(f"{URL}: can't connect", set()), HERE_ONLY)[1] == (
        "9 others came through with the same package"
    )
