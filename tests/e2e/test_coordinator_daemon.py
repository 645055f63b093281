"""`ferryman-coordinator` from the command line: the first start, and every start that can't be."""

from __future__ import annotations

import asyncio
import sqlite3
import ssl
import stat
from pathlib import Path

import aiohttp
import pytest

from coordinator.client import AsyncClient
from protocol.errors import NotFoundError
from protocol.messages import FIXED_SERVER_NAME
from tests.parts.daemons import BIN, CoordinatorDaemon, Daemon, free_port, write_json
from tests.parts.run import Ended, run

DAEMON = str(BIN / "ferryman-coordinator")


def last_line(ended: Ended) -> str:
    """What it ended with: status 1 and one line for people, without a traceback."""
    assert ended.status == 1, ended
    assert "Traceback" not in ended.err
    assert ended.out == ""
    line = ended.err.splitlines()[-1]
    assert line.startswith("ferryman-coordinator: ")
    return line


async def test_the_first_start_needs_nothing_but_a_folder(tmp_path: Path) -> None:
    folder, port = tmp_path / "data", free_port()
    daemon = Daemon(
        [DAEMON, "--data-dir", str(folder), "--listen", f"127.0.0.1:{port}"], tmp_path / "log"
    )
    async with daemon:
        assert daemon.process is not None
        assert daemon.process.stdout is not None
        line = (await daemon.process.stdout.readline()).decode()
        assert "ready" in line.split()
        url = line.split()[-1]
        assert url == f"https://127.0.0.1:{port}"

        for name in ("coordinator.db", "ca.pem", "admin.token"):
            assert (folder / name).stat().st_size > 0
        for secret in ("admin.token", "ca.key", "server.key"):
            assert stat.S_IMODE((folder / secret).stat().st_mode) == 0o600, secret
        token = (folder / "admin.token").read_text().strip()
        async with AsyncClient(url, token, folder / "ca.pem") as client:
            health = await client.get_system_health()
        assert (health.status, health.database, health.cache) == ("healthy", "ok", "ok")
        assert token not in daemon.said()

        await without_a_token(url, folder / "ca.pem")
        ended = await run(DAEMON, "--data-dir", str(folder), "--listen", "127.0.0.1:0")
        assert last_line(ended) == (
            f"ferryman-coordinator: data_dir: {folder} is used by another coordinator"
        )
        assert len(ended.err.splitlines()) == 1

        assert await daemon.stop() == 0
    assert "Traceback" not in daemon.said()


async def without_a_token(url: str, ca_file: Path) -> None:
    """What is open to everybody, and what is not."""
    trust = ssl.create_default_context(cafile=str(ca_file))
    connector = aiohttp.TCPConnector(ssl=trust)
    async with aiohttp.ClientSession(url, connector=connector) as http:

        async def ask(path: str, **headers: str) -> tuple[int, str]:
            async with http.get(path, headers=headers, server_hostname=FIXED_SERVER_NAME) as answer:
                return answer.status, await answer.text()

        for path in ("/livez", "/readyz"):
            assert (await ask(path))[0] == 200
        for path in ("/v1/system/health", "/v1/deployment", "/v1/host", "/v1/events"):
            assert (await ask(path))[0] == 401, path
            status, text = await ask(path, Authorization="Bearer ferryman-guess")
            assert status == 401, path
            assert '"unauthenticated"' in text
            assert "guess" not in text


async def test_what_cannot_start_says_why_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    config = tmp_path / "coordinator.toml"

    config.write_text(f'data_dir = "{folder}"\nlistn = "127.0.0.1:0"\n')
    line = last_line(await run(DAEMON, "--config", str(config)))
    assert f"{config}: listn: not a known setting; did you mean listen?" in line

    no_address = await run(DAEMON, "--data-dir", str(folder), "--listen", "here")
    assert "ferryman-coordinator: --listen: " in last_line(no_address)
    assert not folder.exists(), "nothing was made"

    config.write_text("")
    in_the_way = await run(DAEMON, "--data-dir", str(config), "--listen", "127.0.0.1:0")
    assert f"data_dir: {config}" in last_line(in_the_way)


async def test_a_port_in_use_and_files_that_are_not_ours(tmp_path: Path) -> None:
    first = CoordinatorDaemon(tmp_path / "first")
    async with first:
        where = first.url.removeprefix("https://")
        taken = await run(DAEMON, "--data-dir", str(tmp_path / "second"), "--listen", where)
        assert last_line(taken).startswith(f"ferryman-coordinator: listen: {where}: ")
        assert "in use" in last_line(taken)
    folder = tmp_path / "first"
    start = (DAEMON, "--data-dir", str(folder), "--listen", "127.0.0.1:0")

    database = folder / "coordinator.db"
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    before = database.read_bytes()
    newer = last_line(await run(*start))
    assert "has the schema revision 9999, and this version of Ferryman knows up to" in newer
    assert database.read_bytes() == before, "it was left as it is"

    database.write_text("not a database, but precious")
    assert "damaged or not a SQLite database" in last_line(await run(*start))
    assert database.read_text() == "not a database, but precious"
    database.unlink()

    (folder / "ca.pem").write_text("nothing")
    assert f"{folder / 'ca.pem'}: not a certificate in PEM" in last_line(await run(*start))


async def test_with_json_every_line_that_it_writes_is_an_event(tmp_path: Path) -> None:
    daemon = CoordinatorDaemon(tmp_path / "data")
    write_json(daemon.config)
    async with daemon:
        reader, writer = await asyncio.open_connection(*daemon.url[len("https://") :].split(":"))
        writer.write(b"GET / HTTP/1.1\r\n\r\nno TLS\x1b[2K\n")
        await reader.read()
        writer.close()
        async with daemon.client() as client:
            with pytest.raises(NotFoundError):
                await client.revoke_host("nobody")
            await client.revoke_token((await client.list_tokens()).tokens[0].token_id)
        assert await daemon.stop() == 0
        await daemon.start()
    events = daemon.events()
    assert {(event["level"], event["module"]) for event in events} >= {
        ("info", "coordinator.authority_files"),
        ("warning", "coordinator.auth"),
    }
    assert [event["message"] for event in events].count("stopping") == 2
    assert all({"time", "level", "module", "message"} <= event.keys() for event in events)
