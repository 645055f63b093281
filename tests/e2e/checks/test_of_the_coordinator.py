"""`ferryman-coordinator check`: every weak place that it names, opened up in a real folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import timedelta

import pytest

from protocol.access import TokenParams
from protocol.settings import SettingsError
from tests.e2e.checks.place import Place
from tests.lab.needs import need_root
from tests.parts.daemons import CoordinatorDaemon
from tests.parts.in_reach import give_away

pytestmark = pytest.mark.asyncio(loop_scope="module")

COORDINATOR: dict[str, tuple[Callable[[Place], object], str]] = {
    "folder": (lambda at: at.data.chmod(0o750), "others than its owner can look into it"),
    "config": (lambda at: at.coordinator_toml.chmod(0o664), "others than its owner can change it"),
    "listen": (
        lambda at: at.coordinator_toml.write_text(f'data_dir = "{at.data}"\nlisten = "0.0.0.0:7"'),
        "listen: 0.0.0.0:7 is every network that this machine is on",
    ),
    "names": (
        lambda at: at.coordinator_toml.write_text(f'data_dir = "{at.data}"\nlisten = "[::]:7"'),
        "tls.names: no name but the machine's own is in the certificate",
    ),
    "replaced": (lambda at: (at.data / "replaced-1").mkdir(), "an earlier state with its keys"),
    "no certificate": (
        lambda at: (at.data / "server.pem").write_text("no"),
        "server.pem: not a certificate in PEM",
    ),
    "no company certificate": (
        lambda at: at.coordinator_toml.write_text(
            f'data_dir = "{at.data}"\n'
            f'[tls]\ncertificate = "/none.pem"\nkey = "{at.data}/server.key"'
        ),
        "tls.certificate: /none.pem: it is not there",
    ),
    "no company key": (
        lambda at: at.coordinator_toml.write_text(
            f'data_dir = "{at.data}"\n[tls]\ncertificate = "{at.data}/ca.pem"\nkey = "/none.key"'
        ),
        "tls.key: /none.key: it is not there",
    ),
    "no key of the authority": (
        lambda at: (at.data / "ca.key").unlink(),
        "data/ca.key: it is not there, and others of the coordinator's files are",
    ),
    "no certificate of the authority": (
        lambda at: (at.data / "ca.pem").unlink(),
        "data/ca.pem: it is not there, and others of the coordinator's files are",
    ),
    "no database": (
        lambda at: (at.data / "coordinator.db").unlink(),
        "data/coordinator.db: it is not there, and others of the coordinator's files are",
    ),
}


@pytest.mark.parametrize("case", COORDINATOR)
async def test_what_is_weak_at_the_coordinator_is_named(place: Place, case: str) -> None:
    open_up, expected = COORDINATOR[case]
    open_up(place)
    found = place.coordinator()
    assert [one for one in found if expected in one], found
    assert len(found) == (2 if case in ("listen", "names") else 1), found


@pytest.mark.parametrize(
    "name", ["ca.key", "server.key", "admin.token", "coordinator.db", "coordinator.db-wal"]
)
async def test_each_secret_of_the_coordinator_that_others_can_read_is_named(
    place: Place, name: str
) -> None:
    place.data.chmod(0o711)
    quiet = place.coordinator()
    (place.data / name).touch()
    (place.data / name).chmod(0o644)
    told = [one for one in place.coordinator() if one not in quiet and "chmod 0600" in one]
    assert len(told) == 1
    assert told[0].startswith(f"{place.data / name}: others than its owner can read it (mode 0644)")


async def test_a_company_key_and_a_databases_password_that_others_can_read_are_named(
    place: Place,
) -> None:
    key = place.folder / "company.key"
    key.write_text("secret")
    url = "postgresql+asyncpg://ferryman:hunter2@db/ferryman?ssl=verify-full"
    place.coordinator_toml.write_text(
        f'data_dir = "{place.data}"\ndatabase_url = "{url}"\n'
        f'[tls]\ncertificate = "{place.data}/ca.pem"\nkey = "{key}"'
    )
    found = place.coordinator()
    assert [one.partition(":")[0] for one in found] == [str(place.coordinator_toml), str(key)]
    assert "hunter2" not in "".join(found)


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql+asyncpg://me:hunter2@db.example.com/ferryman", ["db.example.com"]),
        ("postgresql+asyncpg://db:5432/ferryman?ssl=require", ["db"]),
        ("postgresql+asyncpg://[fd00::1]:5432/ferryman", ["fd00::1"]),
        ("postgresql+psycopg://127.0.0.1/ferryman?host=db-a:1&host=db-b:2", ["db-a", "db-b"]),
        ("postgresql+psycopg:///ferryman?host=db-a,db-b&sslmode=prefer", ["db-a", "db-b"]),
        ("mysql+aiomysql://10.0.0.1/ferryman", ["10.0.0.1"]),
        ("postgresql+asyncpg://db/ferryman?ssl=verify-full", []),
        ("postgresql+psycopg://db/ferryman?sslmode=verify-ca", []),
        ("mysql+aiomysql://db/ferryman?ssl_ca=/etc/ssl/db.pem", []),
        ("postgresql+asyncpg://localhost/ferryman", []),
        ("postgresql+asyncpg://127.0.0.2:5432/ferryman", []),
        ("postgresql+asyncpg://[::1]:5432/ferryman", []),
        ("postgresql+asyncpg:///ferryman", []),
        ("postgresql+asyncpg:///ferryman?host=/run/postgresql", []),
    ],
)
async def test_a_database_of_another_machine_has_to_show_who_it_is(
    place: Place, url: str, hosts: list[str]
) -> None:
    place.coordinator_toml.write_text(f'data_dir = "{place.data}"\ndatabase_url = "{url}"')
    place.coordinator_toml.chmod(0o600)
    found = place.coordinator()
    told = [f"database_url: {host} is another machine, and no TLS checks" for host in hosts]
    assert [one[: len(start)] for one, start in zip(found, told, strict=True)] == told
    assert "hunter2" not in "".join(found)


@pytest.mark.parametrize("url", ["hunter2", "postgresql+asyncpg://me:hunter2@db:port/ferryman"])
async def test_a_database_url_that_is_none_is_no_clean_bill_and_is_not_shown(
    place: Place, url: str
) -> None:
    place.coordinator_toml.write_text(f'data_dir = "{place.data}"\ndatabase_url = "{url}"')
    with pytest.raises(SettingsError, match="database_url: not an SQLAlchemy URL") as refused:
        place.coordinator()
    assert "hunter2" not in str(refused.value)


async def test_a_folder_in_which_no_coordinator_has_started_lacks_nothing(place: Place) -> None:
    shutil.rmtree(place.data)
    place.data.mkdir(mode=0o700)
    give_away(place.data)
    assert place.coordinator() == []


async def test_a_coordinators_folder_of_root_and_a_strangers_key_are_named(place: Place) -> None:
    need_root("giving files away")
    os.chown(place.data / "ca.key", 1, 1)
    assert [one for one in place.coordinator() if "ca.key: it belongs to the user id 1" in one]
    os.chown(place.data, 0, 0)
    assert [one for one in place.coordinator() if "so the coordinator runs as root" in one]


async def test_certificates_that_end_soon_or_have_ended_are_named(place: Place) -> None:
    in_a_year = place.coordinator(timedelta(days=340))
    assert [one for one in in_a_year if "server.pem: the certificate ends on" in one]
    later = place.coordinator(timedelta(days=3651))
    assert [one for one in later if "server.pem: the certificate ended on" in one]
    assert [one for one in later if "ca.pem: the certificate ended on" in one]


async def test_tokens_that_are_old_unused_without_end_or_let_hosts_in_for_long_are_named(
    place: Place, joined: CoordinatorDaemon
) -> None:
    async with joined.client() as client:
        secrets = [joined.token]
        ids = {}
        for name, role, ttl in (
            ("endless", "deployer", None),
            ("good", "viewer", 3_000_000),
            ("long", "join", 2_000_000),
            ("over", "join", 3600),
        ):
            params = TokenParams.model_validate({"role": role, "ttl": ttl, "name": name})
            made = await client.create_token(params)
            ids[name] = made.token_id
            secrets.append(made.secret)
        await client.revoke_token(ids["over"])
        shutil.rmtree(place.data)
        shutil.copytree(joined.data_dir, place.data)
        for token_id in ids.values():
            await client.revoke_token(token_id)
    give_away(place.data)
    for file in place.data.glob("coordinator.db*"):
        file.chmod(0o600)

    found = place.coordinator()
    assert len(found) == 2, found
    assert f"token {ids['endless']} (deployer, endless): it never expires" in found[0]
    assert f"token {ids['long']} (join, long): it lets hosts join until" in found[1]

    later = place.coordinator(timedelta(days=400))
    assert [one for one in later if "admin.token): it was made on" in one]
    assert [one for one in later if "endless): nobody used it since" in one]
    assert not [one for one in [*found, *later] for secret in secrets if secret in one]


async def test_a_coordinator_that_is_not_there_or_half_restored_is_no_clean_bill(
    place: Place,
) -> None:
    (place.data / "restoring").mkdir()
    with pytest.raises(SettingsError, match="is half restored"):
        place.coordinator()
    shutil.rmtree(place.data)
    with pytest.raises(SettingsError, match=r"data_dir: .* is not there"):
        place.coordinator()
