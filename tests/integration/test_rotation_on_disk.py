"""The rotation of the authority as files: of the coordinator, and of a host; real handshakes."""

from __future__ import annotations

import ssl
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent.identity import EnrollError, Identity, tidy
from agent.keys import NewKey
from coordinator.pki import Authority, PkiError
from protocol.messages import FIXED_SERVER_NAME
from protocol.states import RotationPhase
from tests.parts import steps_of_renewal, steps_of_rotation
from tests.parts.identities import joined
from tests.parts.local_agent import csr_here
from tests.parts.struck import How

ROOT = Path(__file__).resolve().parents[2]
NONE, BEGUN, SWITCHED = RotationPhase.NONE, RotationPhase.BEGUN, RotationPhase.SWITCHED
SERVER = {"server.key": 0o600, "server.pem": 0o644}
FILES = {
    NONE: {"ca.key": 0o600, "ca.pem": 0o644, **SERVER},
    BEGUN: {
        **{"ca.key": 0o600, "ca.pem": 0o644, **SERVER},
        **{"ca.next.key": 0o600, "ca.next.pem": 0o644},
    },
}
FILES[SWITCHED] = {**FILES[BEGUN], "ca.cross.pem": 0o644}


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def pems(authority: Authority) -> list[str]:
    return [pem.decode() for _, pem, _ in authority.believed]


def at(folder: Path, phase: RotationPhase) -> Authority:
    """An authority whose rotation is so far."""
    authority = Authority.open(folder)
    if phase is not NONE:
        authority.begin()
    if phase is SWITCHED:
        authority.switch()
    return authority


def meet(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> str:
    """A handshake in memory, and what came of it: "" or why not."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(down, up, server_hostname=name),
        server.wrap_bio(up, down, server_side=True),
    ]
    for _ in range(8):
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                return str(error)
            ends.remove(end)
        if not ends:
            return ""
    return "no end"


def person(*authorities: str) -> ssl.SSLContext:
    """Someone with this ca.pem, as strict as Python 3.13."""
    context = ssl.create_default_context(cadata="".join(authorities))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


# ---- the coordinator's files -----------------------------------------------


@pytest.mark.parametrize("phase", RotationPhase)
def test_a_phase_is_its_files_and_a_start_finds_it_again(
    tmp_path: Path, phase: RotationPhase
) -> None:
    authority = at(tmp_path, phase)
    assert authority.phase is phase
    assert modes(tmp_path) == FILES[phase]
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again = Authority.open(tmp_path)
    assert (again.phase, again.digests, again.ca_digest) == (
        phase,
        authority.digests,
        authority.ca_digest,
    )
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_next_authority_signs_from_the_switch_on_and_is_the_only_one_in_the_end(
    tmp_path: Path,
) -> None:
    authority = Authority.open(tmp_path)
    old, old_key = authority.ca_digest, (tmp_path / "ca.key").read_bytes()
    authority.begin()
    _, new = authority.digests
    assert authority.ca_digest == old
    authority.switch()
    assert authority.ca_digest == new
    assert authority.older_pem == (tmp_path / "ca.pem").read_bytes()
    authority.finish()
    assert authority.digests == (new,)
    assert modes(tmp_path) == {**FILES[NONE], "ca.old.pem": 0o644}
    assert (tmp_path / "ca.pem").read_bytes() == authority.ca_pem
    assert (tmp_path / "ca.key").read_bytes() != old_key
    assert Authority.open(tmp_path).digests == (new,)


def test_after_an_abort_nothing_is_left_and_another_next_one_can_be_made(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    authority.begin()
    first = authority.digests[1]
    authority.abort()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    authority.begin()
    assert authority.digests[1] != first


STEPS = {"begin": (NONE, BEGUN), "switch": (BEGUN, SWITCHED), "abort": (BEGUN, NONE)}
STEPS["finish"] = (SWITCHED, NONE)


@pytest.mark.parametrize("how", ["dies", "fails"])
@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_is_struck_at_any_change_leaves_one_phase_or_the_other(
    tmp_path: Path, step: str, how: How
) -> None:
    before, after = STEPS[step]
    data = tmp_path / "data"
    old, *following = at(data, before).digests
    kept = [following[0]] if step == "finish" else [old]
    argv = [sys.executable, "-m", steps_of_rotation.__name__, str(data), how, step]
    subprocess.run(argv, check=True, cwd=ROOT)
    left = sorted(tmp_path.glob("data.*"), key=lambda path: int(path.suffix[1:]))
    phases = []
    for folder in left:
        found = Authority.open(folder)
        phases.append(found.phase)
        whole = {k: v for k, v in modes(folder).items() if not k.endswith(".tmp")}
        old_one = {"ca.old.pem": 0o644} if "ca.old.pem" in whole else {}
        assert whole == {**FILES[found.phase], **old_one}, folder
        assert old_one or step != "finish" or found.phase is before
        if found.phase is NONE:
            assert list(found.digests) == (kept if found.phase is after else [old]), folder
        for pem in pems(found):
            shown = person(*([pem] if found.phase is not BEGUN else pems(found)))
            assert meet(shown, found.server_context(), "localhost") == "", folder
        if found.phase is before:
            getattr(found, step)()
            assert found.phase is after
    assert len(left) >= 2
    assert phases == sorted(phases, key=[before, after].index), "once it is done it stays"
    assert set(phases) == ({before, after} if step in ("finish", "abort") else {before})


@pytest.mark.parametrize("missing", ["ca.next.key", "ca.next.pem", "ca.pem", "ca.key"])
def test_a_file_that_was_taken_away_is_named_and_nothing_is_made_in_its_place(
    tmp_path: Path, missing: str
) -> None:
    at(tmp_path, SWITCHED)
    (tmp_path / missing).unlink()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(PkiError, match=r"ca\.[a-z.]+ is missing"):
        Authority.open(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_files_of_different_rotations_are_not_mixed(tmp_path: Path) -> None:
    at(tmp_path / "a", SWITCHED)
    other = at(tmp_path / "b", SWITCHED)
    (tmp_path / "a" / "ca.cross.pem").write_bytes((other.folder / "ca.cross.pem").read_bytes())
    with pytest.raises(PkiError, match=r"ca\.cross\.pem does not belong to"):
        Authority.open(tmp_path / "a")


# ---- who is believed --------------------------------------------------------


def test_people_with_the_old_ca_pem_get_in_until_the_end_and_with_the_new_one_from_the_switch(
    tmp_path: Path,
) -> None:
    authority = Authority.open(tmp_path)
    server = authority.server_context()
    old = authority.ca_pem.decode()
    authority.begin()
    new = pems(authority)[1]
    gets_in = {}
    for step in ("begun", "switch", "finish"):
        if step != "begun":
            getattr(authority, step)()
        gets_in[step] = [
            meet(person(*ca), server, "localhost") == "" for ca in ((old,), (new,), (old, new))
        ]
    assert gets_in == {
        "begun": [True, False, True],
        "switch": [True, True, True],
        "finish": [False, True, True],
    }


def test_a_companys_own_certificate_stays_in_front_whatever_becomes_of_its_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    company = trustme.CA()
    pair = tmp_path / "company.pem", tmp_path / "company.key"
    issued = company.issue_cert("ferryman.example.com")
    issued.cert_chain_pems[0].write_to_path(pair[0])
    issued.private_key_pem.write_to_path(pair[1])
    theirs = ssl.create_default_context(cadata=company.cert_pem.bytes().decode())
    authority = Authority.open(tmp_path / "data")
    server = authority.server_context(pair)
    identity = joined(authority, tmp_path / "state", "host-a")
    authority.begin()
    pair[1].unlink()
    identity = identity.believing(pems(authority))
    for step in ("switch", "finish"):
        getattr(authority, step)()
        assert meet(theirs, server, "ferryman.example.com") == ""
        assert meet(identity.client_context(), server, FIXED_SERVER_NAME) == ""
    assert "company.key can't be used: No such file or directory; the one from" in caplog.text


def test_hosts_are_believed_by_what_they_show_and_not_by_what_is_forgotten(
    tmp_path: Path,
) -> None:
    authority = Authority.open(tmp_path / "data")
    server = authority.server_context()
    old = joined(authority, tmp_path / "old", "host-a")
    authority.begin()
    old = old.believing(pems(authority))
    authority.switch()
    new = joined(authority, tmp_path / "new", "host-b")
    for identity in (old, new):
        assert meet(identity.client_context(), server, FIXED_SERVER_NAME) == ""
    authority.finish()
    assert meet(new.client_context(), server, FIXED_SERVER_NAME) == ""
    assert meet(old.client_context(), server, FIXED_SERVER_NAME) == "", "to be refused by name"
    shown = (tmp_path / "old" / "agent.pem").read_bytes()
    certificate = x509.load_pem_x509_certificate(shown)
    assert authority.issuer_of(certificate.public_bytes(Encoding.DER)) == ""


def test_an_aborted_authority_is_not_believed_any_more(tmp_path: Path) -> None:
    authority = at(tmp_path / "data", BEGUN)
    server = authority.server_context()
    folder = tmp_path / "copy"
    folder.mkdir()
    for name in ("key", "pem"):
        thief = authority.folder / f"ca.next.{name}"
        (folder / f"ca.{name}").write_bytes(thief.read_bytes())
    forged = joined(Authority.open(folder), tmp_path / "forged", "host-a")
    forged = Identity(forged.state_dir, "host-a", forged.ca_digests).believing(
        [*pems(Authority.open(folder)), authority.ca_pem.decode()]
    )
    assert meet(forged.client_context(), server, FIXED_SERVER_NAME) == ""
    authority.abort()
    assert "certificate verify failed" in meet(forged.client_context(), server, FIXED_SERVER_NAME)


# ---- a host's files ----------------------------------------------------------


def test_a_host_believes_two_authorities_and_then_the_new_one_alone(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "data")
    state = tmp_path / "state"
    identity = joined(authority, state, "host-a")
    pair = (state / "agent.pem").read_bytes()
    authority.begin()
    identity = identity.believing(pems(authority))
    assert identity == Identity.load(state)
    assert identity.ca_digests == authority.digests
    identity = identity.believing(pems(authority)[1:])
    assert identity == Identity.load(state)
    assert identity.ca_digests == authority.digests[1:]
    assert modes(state) == {"agent.pem": 0o600, "ca.pem": 0o644}
    assert (state / "agent.pem").read_bytes() == pair


Wrong = Callable[[Authority, Authority], list[str]]


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (lambda ours, other: pems(other), "none of the authorities is believed here"),
        (lambda ours, other: [], "no authority's certificate"),
        (lambda ours, other: ["nonsense"], "no authority's certificate"),
        (lambda ours, other: pems(ours) * 2, "no authority's certificate"),
        (lambda ours, other: [*pems(ours), "".join(pems(ours) * 2)], "no authority's certificate"),
        (
            lambda ours, other: [*pems(ours), ours.sign_agent(request(), "h").decode()],
            "no authority's certificate",
        ),
        (
            lambda ours, other: [
                *pems(ours),
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            ],
            "no authority's certificate",
        ),
    ],
    ids=["strange", "none", "nonsense", "twice", "bundle", "agent's", "damaged"],
)
def test_what_is_no_authority_is_not_kept(tmp_path: Path, told: Wrong, reason: str) -> None:
    ours, other = Authority.open(tmp_path / "ours"), Authority.open(tmp_path / "other")
    state = tmp_path / "state"
    identity = joined(ours, state, "host-a")
    before = {path.name: path.read_bytes() for path in state.iterdir()}
    with pytest.raises(EnrollError, match=reason):
        identity.believing(told(ours, other))
    assert {path.name: path.read_bytes() for path in state.iterdir()} == before


def request() -> bytes:
    return NewKey.of(csr_here("-", "h")).request.encode()


@pytest.mark.parametrize("how", ["dies", "fails"])
def test_a_host_that_is_struck_believes_the_old_one_or_both(tmp_path: Path, how: How) -> None:
    authority = Authority.open(tmp_path / "data")
    state = tmp_path / "state"
    joined(authority, state, "host-a")
    authority.begin()
    (tmp_path / "next.pem").write_text(pems(authority)[1])
    argv = [sys.executable, "-m", steps_of_renewal.__name__, str(state), how]
    subprocess.run([*argv, str(tmp_path / "next.pem")], check=True, cwd=ROOT)
    left = sorted(tmp_path.glob("state.*"), key=lambda path: int(path.suffix[1:]))
    for folder in left:
        tidy(folder)
        identity = Identity.load(folder)
        assert identity is not None
        assert identity.ca_digests in (authority.digests[:1], authority.digests)
        assert modes(folder) == {"agent.pem": 0o600, "ca.pem": 0o644}
        assert meet(identity.client_context(), authority.server_context(), FIXED_SERVER_NAME) == ""
    assert len(left) >= 2
