"""The switch from the old pair of key and certificate to the new one, on real files."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.identity import EnrollError, Identity, tidy
from agent.keys import NewKey
from coordinator.pki import Authority
from tests.parts import steps_of_renewal
from tests.parts.identities import joined, joined_with_0_1_0, serial
from tests.parts.local_agent import csr_here
from tests.parts.struck import How

ROOT = Path(__file__).resolve().parents[2]
Layout = Callable[[Authority, Path, str], Identity]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.open(tmp_path / "coordinator")


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def new_pair(authority: Authority, host_id: str = "host-a") -> tuple[str, str]:
    made = NewKey.of(csr_here("-", host_id))
    return authority.sign_agent(made.request.encode(), host_id).decode(), made.key


@pytest.mark.parametrize("layout", [joined, joined_with_0_1_0])
def test_the_new_pair_takes_the_place_of_the_old_one(
    authority: Authority, tmp_path: Path, layout: Layout
) -> None:
    state = tmp_path / "state"
    identity = layout(authority, state, "host-a")
    before = serial(state)
    renewed = identity.renewed(*new_pair(authority))
    assert serial(state) != before
    assert Identity.load(state) == renewed == identity
    assert modes(state) == {"agent.pem": 0o600, "ca.pem": 0o644}


@pytest.mark.parametrize(("layout", "how"), [(joined_with_0_1_0, "dies"), (joined, "fails")])
def test_at_each_step_there_is_one_whole_pair(
    authority: Authority, tmp_path: Path, layout: Layout, how: How
) -> None:
    state = tmp_path / "state"
    layout(authority, state, "host-a")
    before = set(modes(state))
    certificate, key = new_pair(authority)
    (tmp_path / "new.pem").write_text(certificate)
    (tmp_path / "new.key").write_text(key)
    program = [sys.executable, "-m", steps_of_renewal.__name__]
    argv = [*program, str(state), how, str(tmp_path / "new.pem"), str(tmp_path / "new.key")]
    subprocess.run(argv, check=True, cwd=ROOT)
    left = sorted(tmp_path.glob("state.*"), key=lambda path: int(path.suffix[1:]))
    switched = []
    for folder in left:
        tidy(folder)
        assert Identity.load(folder) is not None
        switched.append(serial(folder) != serial(state))
        assert set(modes(folder)) == ({"agent.pem", "ca.pem"} if switched[-1] else before)
    assert len(left) >= 3
    assert switched == sorted(switched), "once it is switched it stays"
    assert set(switched) == {False, True}


def test_a_crash_of_0_1_0_leaves_no_rubbish_either(authority: Authority, tmp_path: Path) -> None:
    state = tmp_path / "state"
    joined_with_0_1_0(authority, state, "host-a")
    for name in (".agent.pem.new", ".agent.key.0a1b2c3d.tmp", ".ca.pem.0a1b2c3d.tmp"):
        (state / name).write_text("half")
    tidy(state)
    assert set(modes(state)) == {"agent.key", "agent.pem", "ca.pem"}


def test_a_host_that_has_not_joined_keeps_the_key_that_it_asked_with(tmp_path: Path) -> None:
    (tmp_path / "agent.key").write_text("a key")
    tidy(tmp_path)
    tidy(tmp_path / "nothing-yet")
    assert set(modes(tmp_path)) == {"agent.key"}


def test_only_a_pair_that_proves_to_be_one_is_kept(authority: Authority, tmp_path: Path) -> None:
    state, foreign = tmp_path / "state", Authority.open(tmp_path / "foreign")
    identity = joined(authority, state, "host-a")
    before = (state / "agent.pem").read_bytes()
    certificate, key = new_pair(authority)
    wrong = {
        "another key": (certificate, (new_pair(authority))[1]),
        "another host: 'host-b'": new_pair(authority, "host-b"),
        "its authority does not stand for": new_pair(foreign),
    }
    for reason, pair in wrong.items():
        with pytest.raises(EnrollError, match=reason):
            identity.renewed(*pair)
        assert (state / "agent.pem").read_bytes() == before
        assert set(modes(state)) == {"agent.pem", "ca.pem"}
    identity.renewed(certificate, key)


@pytest.mark.parametrize("length", [64, 65, 128])
def test_a_long_host_id_is_renewed_too(authority: Authority, tmp_path: Path, length: int) -> None:
    host_id = "h" * length
    identity = joined(authority, tmp_path / "state", host_id)
    identity.renewed(*new_pair(authority, host_id))
