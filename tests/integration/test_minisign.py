"""Against the real `minisign`: what it signs we verify, and what our tests sign it verifies."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.minisign import PublicKey, Signature, SignatureError, new_prehash
from agent.ports import StepError
from agent.trust import Trust
from tests.lab.needs import need_programs
from tests.parts.signing import Signer, comment_of

PACKAGE = b"a package" * 1000
COMMENT = comment_of("user-service", "v1")


@pytest.fixture
def package(tmp_path: Path) -> Path:
    need_programs("minisign")
    file = tmp_path / "user-service-v1.tar.gz"
    file.write_bytes(PACKAGE)
    return file


def minisign(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["minisign", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def key_pair(folder: Path) -> PublicKey:
    """A key of the program's own, without a password."""
    made = minisign(folder, "-G", "-W", "-p", "key.pub", "-s", "key.sec")
    assert made.returncode == 0, made.stderr
    return PublicKey.parse((folder / "key.pub").read_text().splitlines()[1])


def signed(package: Path, *options: str) -> bytes:
    """What the program signs, as docs/packages.md says how."""
    made = minisign(package.parent, "-S", "-s", "key.sec", "-m", package.name, *options)
    assert made.returncode == 0, made.stderr
    return package.with_name(f"{package.name}.minisig").read_bytes()


def check(trust: Trust, signature: bytes, data: bytes = PACKAGE) -> str:
    """The key that signed `data` as user-service v1; raises `StepError`."""
    seal = trust.seal(signature, "user-service", "v1")
    pieces = iter([data[:100], data[100:], b""])
    read = seal.through(lambda: next(pieces))
    while read():
        pass
    return seal.check().key


def test_what_the_program_signs_is_verified_here(package: Path) -> None:
    key = key_pair(package.parent)
    signature = signed(package, "-t", COMMENT)
    assert check(Trust([key]), signature) == key.text
    with pytest.raises(StepError, match=f"by the key {key.key_id} is not of these bytes"):
        check(Trust([key]), signature, PACKAGE + b"x")
    with pytest.raises(StepError, match=f"by the key {key.key_id}, which trusted_keys"):
        check(Trust([PublicKey.parse(Signer().public)]), signature)


def test_a_key_has_the_id_that_the_program_prints(package: Path) -> None:
    key = key_pair(package.parent)
    assert key.key_id in (package.parent / "key.pub").read_text().splitlines()[0]


def test_what_the_program_signs_without_naming_service_and_version_is_refused(
    package: Path,
) -> None:
    key = key_pair(package.parent)
    with pytest.raises(StepError, match="has no service= in its trusted comment; sign with -t"):
        check(Trust([key]), signed(package))


def test_the_programs_legacy_kind_is_refused_by_name(package: Path) -> None:
    key = key_pair(package.parent)
    with pytest.raises(StepError, match="of minisign's legacy kind: sign it anew with minisign"):
        check(Trust([key]), signed(package, "-l", "-t", COMMENT))


def test_what_our_tests_sign_is_verified_by_the_program(package: Path) -> None:
    signer = Signer()
    beside = package.with_name(f"{package.name}.minisig")
    verify = ("-V", "-P", signer.public, "-m", package.name)
    for kind in (b"ED", b"Ed"):
        beside.write_bytes(signer.sign(PACKAGE, COMMENT, kind=kind))
        good = minisign(package.parent, *verify)
        assert good.returncode == 0, good.stderr
        assert COMMENT in good.stdout
    for lie in (signer.sign(PACKAGE + b"x", COMMENT), signer.sign(PACKAGE, COMMENT, said="other")):
        beside.write_bytes(lie)
        assert minisign(package.parent, *verify).returncode != 0


def test_the_program_and_we_refuse_the_same_changed_signatures(package: Path) -> None:
    """Every byte of a signature file that is changed is refused by both, or by neither."""
    signer = Signer()
    trust = Trust([PublicKey.parse(signer.public)])
    whole = signer.sign(PACKAGE, COMMENT)
    beside = package.with_name(f"{package.name}.minisig")
    start = whole.index(b"\n") + 1
    tried = 0
    for at in range(start, len(whole), 9):
        changed = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
        beside.write_bytes(changed)
        theirs = minisign(package.parent, "-V", "-P", signer.public, "-m", package.name)
        assert theirs.returncode != 0
        with pytest.raises(StepError, match="the signature"):
            check(trust, changed)
        tried += 1
    assert tried > 25


WHOLE = Signer().sign(PACKAGE, COMMENT)


@given(
    st.one_of(
        st.binary(max_size=400),
        st.builds(
            lambda at, damage: WHOLE[:at] + damage + WHOLE[at + len(damage) :],
            st.integers(0, len(WHOLE)),
            st.binary(min_size=1, max_size=3),
        ),
    )
)
def test_any_bytes_are_a_signature_or_refused(data: bytes) -> None:
    with contextlib.suppress(SignatureError):
        assert len(Signature.parse(data).global_signature) == 64


@pytest.mark.parametrize(
    "text",
    ["", "RW", "no key", Signer().public[:-4], Signer().public + "AAAA", "é" * 56, "A" * 56],
    ids=["empty", "begun", "words", "too short", "too long", "not ASCII", "no kind"],
)
def test_what_is_no_public_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be a minisign public key: the line of its \.pub"):
        PublicKey.parse(text)


def test_the_prehash_is_blake2b_of_64_bytes() -> None:
    assert (new_prehash().name, new_prehash().digest_size) == ("blake2b", 64)
