"""With trusted keys, a package is signed for this service and version, or it stays outside."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.download import PackageSource
from agent.fetch import fetch_release
from agent.minisign import MAX_SIGNATURE_BYTES, PublicKey
from agent.ports import StepError
from agent.releases import Release, Releases
from agent.terms import Terms
from agent.trust import Trust
from tests.parts.package_scene import PACKAGE, SECRET, on_disk
from tests.parts.package_server import PackageServer
from tests.parts.packages import tar_gz
from tests.parts.signing import Signer, comment_of

COMMENT = comment_of("user-service", "v1")
NAME = "user-service-v1.tar.gz"


def trusting(*signers: Signer) -> Terms:
    return Terms(trust=Trust([PublicKey.parse(signer.public) for signer in signers]))


@pytest.fixture
def signer() -> Signer:
    return Signer()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[PackageServer]:
    async with PackageServer(tmp_path) as running:
        yield running


@pytest.fixture
async def source(server: PackageServer, signer: Signer) -> AsyncIterator[PackageSource]:
    terms = trusting(Signer(), signer)
    async with PackageSource(server.ca_file, terms, resume_pause=0.001) as made:
        yield made


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(tmp_path / "root")


async def fetched(source: PackageSource, releases: Releases, url: str) -> Release:
    return await fetch_release(source, releases, service="user-service", version="v1", url=url)


async def refusal(source: PackageSource, releases: Releases, url: str) -> StepError:
    """Fetch and be refused; nothing may be left, and no message may tell the query."""
    with pytest.raises(StepError) as raised:
        await fetched(source, releases, url + SECRET)
    assert on_disk(releases) == []
    assert "s3cret" not in raised.value.message
    assert raised.value.__cause__ is None
    return raised.value


async def test_a_signed_package_becomes_a_release_that_knows_who_signed(
    server: PackageServer, source: PackageSource, releases: Releases, signer: Signer
) -> None:
    url = server.put(NAME, PACKAGE)
    server.put(f"{NAME}.minisig", signer.sign(PACKAGE, f"{COMMENT} and=more text"))
    server.truncate(NAME, at=500_000)
    release = await fetched(source, releases, url + SECRET)
    (kept,) = releases.all()
    for one in (release, kept):
        assert one.signed is not None
        assert (one.signed.key, one.signed.service) == (signer.public, "user-service")
    releases.verify(kept)
    assert [one.name for one in server.requests] == [f"{NAME}.minisig", NAME, NAME]


async def test_the_signature_is_looked_at_before_a_byte_of_the_package_is_asked_for(
    server: PackageServer, source: PackageSource, releases: Releases
) -> None:
    await refusal(source, releases, server.put(NAME, PACKAGE))
    assert [one.name for one in server.requests] == [f"{NAME}.minisig"]


@pytest.mark.parametrize(
    ("status", "passing"),
    [(404, False), (403, False), (204, False), (500, True), (503, True), (429, True)],
)
async def test_without_a_signature_it_is_refused_and_tried_again_only_where_that_may_help(
    server: PackageServer,
    source: PackageSource,
    releases: Releases,
    status: int,
    passing: bool,
) -> None:
    url = server.put(NAME, PACKAGE)
    server.fail(f"{NAME}.minisig", status)
    error = await refusal(source, releases, url)
    assert error.message == f"no signature: {url}.minisig: the server answered {status}"
    assert error.passing is passing


async def test_a_server_that_is_away_may_come_back_with_the_signature(
    server: PackageServer, source: PackageSource, releases: Releases
) -> None:
    url = server.put(NAME, PACKAGE)
    await server.stop()
    error = await refusal(source, releases, url)
    assert error.message == f"no signature: {url}.minisig: can't connect (Connection refused)"
    assert error.passing


async def test_a_signature_that_is_cut_may_come_whole_the_next_time(
    server: PackageServer, source: PackageSource, releases: Releases, signer: Signer
) -> None:
    url = server.put(NAME, PACKAGE)
    server.put(f"{NAME}.minisig", signer.sign(PACKAGE, COMMENT))
    server.truncate(f"{NAME}.minisig", at=100)
    error = await refusal(source, releases, url)
    assert error.message == f"no signature: {url}.minisig: the server closed the connection"
    assert error.passing
    await fetched(source, releases, url)


FOREIGN = Signer()
SAME_ID = bytes(8)


@pytest.mark.parametrize(
    ("beside", "reason"),
    [
        (b"", "is not in minisign's format"),
        (b"<html>please log in</html>", "is not in minisign's format"),
        (FOREIGN.sign(PACKAGE, COMMENT)[:-20], "is not in minisign's format"),
        (FOREIGN.sign(PACKAGE, COMMENT) + b"more\n", "is not in minisign's format"),
        (
            FOREIGN.sign(PACKAGE, COMMENT).replace(b"\ntrusted comment: ", b"\ncomment: "),
            "has no trusted comment",
        ),
        (FOREIGN.sign(PACKAGE, COMMENT, kind=b"Ed"), "is of minisign's legacy kind: sign it anew"),
        (FOREIGN.sign(PACKAGE, COMMENT, kind=b"Ex"), "is of an unknown kind"),
        pytest.param(
            FOREIGN.sign(PACKAGE, COMMENT),
            f"is by the key {FOREIGN.key_id}, which trusted_keys does not name",
            id="foreign",
        ),
    ],
)
async def test_what_is_no_signature_of_a_trusted_key_is_refused_by_its_own_reason(
    server: PackageServer, source: PackageSource, releases: Releases, beside: bytes, reason: str
) -> None:
    url = server.put(NAME, PACKAGE)
    server.put(f"{NAME}.minisig", beside)
    error = await refusal(source, releases, url)
    assert error.message.startswith(f"the signature {reason}")
    assert not error.passing


@pytest.mark.parametrize(
    ("comment", "reason"),
    [
        ("timestamp:1700000000\tfile:a.tar.gz\thashed", "has no service= in its trusted comment"),
        ("version=v1", "has no service= in its trusted comment"),
        ("service=user-service", "has no version= in its trusted comment"),
        ("xservice=user-service version=v1", "has no service= in its trusted comment"),
        ("service=user-service version=v2", "is for the version 'v2', not v1"),
        ("service=user-service version=", "is for the version '', not v1"),
        ("service=other version=v1", "is for the service 'other', not user-service"),
        ("service=user-service-2 version=v1", "is for the service 'user-service-2', not"),
        (f"{COMMENT} service=other", "has more than one service= in its trusted comment"),
        (f"version=v2 {COMMENT}", "has more than one version= in its trusted comment"),
        ("service=\x1b]0;title version=v1", r"is for the service '\x1b]0;title', not"),
    ],
)
async def test_a_package_of_another_service_or_version_is_refused_though_it_is_signed(
    server: PackageServer,
    source: PackageSource,
    releases: Releases,
    signer: Signer,
    *,
    comment: str,
    reason: str,
) -> None:
    url = server.put(NAME, PACKAGE)
    server.put(f"{NAME}.minisig", signer.sign(PACKAGE, comment))
    error = await refusal(source, releases, url)
    assert error.message.startswith(f"the signature {reason}")
    assert not error.passing
    assert [one.name for one in server.requests] == [f"{NAME}.minisig"]


async def test_a_comment_that_names_nothing_is_of_nothing(
    server: PackageServer, source: PackageSource, releases: Releases, signer: Signer
) -> None:
    url = server.put(NAME, PACKAGE)
    server.put(f"{NAME}.minisig", signer.sign(PACKAGE, "service= version=v1"))
    with pytest.raises(StepError, match="the signature is for the service '', not "):
        await fetch_release(source, releases, service="", version="v1", url=url)


async def test_a_comment_that_was_changed_is_refused(
    server: PackageServer, source: PackageSource, releases: Releases, signer: Signer
) -> None:
    url = server.put(NAME, PACKAGE)
    old = comment_of("user-service", "v0")
    server.put(f"{NAME}.minisig", signer.sign(PACKAGE, old, said=COMMENT))
    error = await refusal(source, releases, url)
    assert error.message == (
        f"the signature has a trusted comment that the key {signer.key_id} did not sign"
    )
    assert not error.passing


async def test_field_note_23_a_signature_of_other_bytes_is_refused_after_all_of_them(
    server: PackageServer, source: PackageSource, releases: Releases, signer: Signer
) -> None:
    url = server.put(NAME, PACKAGE)
    server.put(f"{NAME}.minisig", signer.sign(tar_gz({"bin/server": b"honest"}), COMMENT))
    error = await refusal(source, releases, url)
    assert error.message.startswith(
        f"the signature by the key {signer.key_id} is not of these bytes"
    )
    assert not error.passing


async def test_a_key_of_another_owner_with_the_same_id_signs_nothing(
    server: PackageServer, releases: Releases
) -> None:
    ours, theirs = Signer(SAME_ID), Signer(SAME_ID)
    url = server.put(NAME, PACKAGE)
    server.put(f"{NAME}.minisig", theirs.sign(PACKAGE, COMMENT))
    async with PackageSource(server.ca_file, trusting(ours)) as source:
        error = await refusal(source, releases, url)
    assert "has a trusted comment that the key 0000000000000000 did not sign" in error.message


async def test_a_signature_file_without_an_end_is_cut(
    server: PackageServer, source: PackageSource, releases: Releases
) -> None:
    url = server.put(NAME, PACKAGE)
    server.put(f"{NAME}.minisig", b"untrusted comment: " + bytes(50_000_000))
    error = await refusal(source, releases, url)
    assert error.message == (
        f"no signature: {url}.minisig: larger than the {MAX_SIGNATURE_BYTES} bytes "
        "that are accepted"
    )
    assert not error.passing


async def test_another_package_with_a_good_signature_is_still_not_the_tasks(
    server: PackageServer, source: PackageSource, releases: Releases, signer: Signer
) -> None:
    url = server.put(NAME, PACKAGE)
    server.put(f"{NAME}.minisig", signer.sign(PACKAGE, COMMENT))
    with pytest.raises(StepError, match="package changed: expected sha256 0000"):
        await fetch_release(
            source, releases, service="user-service", version="v1", url=url, digest="0" * 64
        )


async def test_a_release_that_was_taken_in_unsigned_is_signed_by_fetching_it_again(
    server: PackageServer, source: PackageSource, releases: Releases, signer: Signer
) -> None:
    url = server.put(NAME, PACKAGE)
    server.put(f"{NAME}.minisig", signer.sign(PACKAGE, COMMENT))
    async with PackageSource(server.ca_file) as careless:
        first = await fetched(careless, releases, url)
        assert source.terms.trust.distrust(first, "user-service")
        second = await fetched(source, releases, url)
        assert source.terms.trust.distrust(second, "user-service") == ""
        inode = second.path.stat().st_ino
        assert inode == first.path.stat().st_ino
        again = await fetched(careless, releases, url)
    assert again.signed == second.signed
    assert source.terms.trust.distrust(releases.all()[0], "user-service") == ""
    releases.verify(again)


@pytest.mark.parametrize(
    ("instead", "why"),
    [
        ("/nowhere", "No such file or directory"),
        ("/bin/false", "its process ended with 1"),
        ("/bin/true", "its process ended with 0"),
    ],
)
def test_field_note_23_where_no_process_can_verify_nothing_is_believed(
    instead: str, why: str
) -> None:
    code = (
        "import sys; from agent import ed25519\n"
        "sys.executable = sys.argv[1]\n"
        "try: print(ed25519.verify(bytes(32), bytes(64), b''))\n"
        "except ed25519.StepError as error: print(error, error.passing)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, instead], capture_output=True, text=True, check=True
    )
    assert said.stdout == f"the signature can't be verified: {why} True\n"
