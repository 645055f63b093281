"""Configuration files: what is accepted, and what every mistake is answered with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.config import AgentConfig, load_config, own_host_id
from coordinator.config import Settings, load_settings
from coordinator.strategies import Strategies
from protocol.endpoints import check_url, format_endpoint, parse_endpoint
from protocol.names import check_name
from protocol.settings import SettingsError
from protocol.strategy import Strategy

INSTANCE = """
[[instances]]
id      = "instance-1"
service = "user-service"
port    = 8080
driver  = "systemd"
unit    = "user-service.service"
"""

Write = Callable[[str], Path]

KEY = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
"""The public key in minisign's own documentation."""


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def put(text: str) -> Path:
        path = tmp_path / "ferryman.toml"
        path.write_text(text)
        return path

    return put


def refusal(load: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(SettingsError) as refused:
        load(path)
    assert str(path) in refused.value.message
    return refused.value.message


# ---- the agent's file ------------------------------------------------------


def test_the_example_of_the_interface_is_read(write: Write) -> None:
    config = load_config(
        write("""
host_id   = "host-a"
state_dir = "/var/lib/ferryman-agent"
coordinator = "https://10.0.0.1:7420"
join_token_file = "/etc/ferryman/join.token"
package_ca_file = "/etc/ferryman/packages-ca.pem"
keep_releases = 3

[[instances]]
id      = "instance-1"
service = "user-service"
port    = 8080
address = "10.0.0.5"
root    = "/srv/user-service"
driver  = "systemd"
unit    = "user-service.service"
metadata = { zone = "a" }

[[instances]]
id      = "instance-2"
service = "user-service"
port    = 8081
driver  = "process"
command = ["./bin/server", "--port", "8081"]
environment = { LOG_LEVEL = "info" }
[instances.health_check]
http     = "http://127.0.0.1:8081/healthz"
interval = 0.5
timeout  = 30
stable   = 2
""")
    )
    first, second = config.instances
    assert config.host_id == "host-a"
    assert config.coordinator == "https://10.0.0.1:7420"
    assert first.metadata == {"zone": "a"}
    assert first.release_root(config.state_dir) == Path("/srv/user-service")
    assert second.release_root(config.state_dir) == config.state_dir / "instances/instance-2"
    assert second.command == ("./bin/server", "--port", "8081")
    assert second.health_check is not None
    assert second.health_check.stable == 2.0


def test_an_empty_file_has_the_defaults(write: Write) -> None:
    config = load_config(write(""))
    assert config == AgentConfig()
    assert check_name(config.host_id) == own_host_id()
    assert config.state_dir == Path("/var/lib/ferryman-agent")
    assert (config.coordinator, config.keep_releases, config.instances) == (None, 3, ())


HEALTH = INSTANCE + "[instances.health_check]\n"
PROCESS = '[[instances]]\nid="i"\nservice="s"\ndriver="process"\n'


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('hostid = "a"', ["hostid", "not a known setting", "did you mean host_id", "state_dir"]),
        (INSTANCE + INSTANCE.replace("port ", "prot "), ["instances[1].prot", "metadata"]),
        (HEALTH + 'tcp="a:1"\ntimeot=3', ["instances[0].health_check.timeot", "timeout"]),
        ("host_id = \nx", ["not TOML", "line 1"]),
        ("a = 1\nb = nope", ["line 2"]),
        ("host_id = 2026-01-01", ["host_id", "string"]),
        ('host_id = "a b"', ["host_id", "A-Z a-z 0-9"]),
        ('state_dir = "var"', ["state_dir", "absolute"]),
        ('coordinator = "http://a:1"', ["coordinator", "https://HOST:PORT"]),
        ('coordinator = "https://a"', ["coordinator", "https://HOST:PORT"]),
        ('coordinator = "https://u:p@a:1"', ["coordinator", "https://HOST:PORT"]),
        ("keep_releases = 101", ["keep_releases", "0 to 100"]),
        ("keep_releases = true", ["keep_releases", "0 to 100"]),
        ("keep_releases = 1.5", ["keep_releases", "0 to 100"]),
        ('join_token = "a"\njoin_token_file = "/b"', ["join_token", "join_token_file", "both"]),
        (INSTANCE.replace("8080", '"8080"'), ["instances[0].port", "integer"]),
        (INSTANCE.replace("8080", "65536"), ["instances[0].port", "65535"]),
        (INSTANCE.replace('"systemd"', '"docker"'), ["instances[0].driver", "process"]),
        (INSTANCE.replace("user-service.service", "-x"), ["instances[0].unit", "unit"]),
        (INSTANCE.replace("unit ", "root "), ["instances[0].root", "absolute"]),
        (INSTANCE.replace("unit    = ", "#"), ["instances[0]", "systemd needs unit"]),
        (PROCESS, ["instances[0]", "process needs command"]),
        (INSTANCE + 'command = ["x"]', ["command is not for driver systemd"]),
        (
            INSTANCE + "environment = {A = '1'}",
            ["instances[0]", "environment is not for driver systemd"],
        ),
        (INSTANCE + 'user = "web"', ["instances[0]", "user is not for driver systemd"]),
        (PROCESS + 'command = ["x"]\nuser = "0; rm"', ["instances[0].user", "a user of this host"]),
        (PROCESS + 'command = ["x"]\nuser = ""', ["instances[0].user", "a user of this host"]),
        (PROCESS + "command = []", ["instances[0].command"]),
        (PROCESS + 'command = ["x"]\nenvironment = {"A-B" = "1"}', ["environment", "A-B"]),
        (PROCESS + 'command = ["x"]\nenvironment = {PORT = "1"}', ["PORT", "set by the agent"]),
        (INSTANCE + "metadata = {a = 1}", ["instances[0].metadata.a", "string"]),
        (INSTANCE + INSTANCE, ["instance-1", "twice"]),
        (INSTANCE + INSTANCE.replace("instance-1", "b"), ["instance-1 and b", "unit"]),
        (HEALTH, ["instances[0].health_check", "exactly one of http, tcp, command"]),
        (HEALTH + 'tcp="a:1"\ncommand=["x"]', ["exactly one of http, tcp, command"]),
        (HEALTH + 'tcp="a:1"\ninterval=0', ["health_check.interval", "above 0"]),
        (HEALTH + 'tcp="a:1"\ntimeout=inf', ["health_check.timeout", "finite"]),
        (HEALTH + 'tcp="a:1"\nstable=nan', ["health_check.stable"]),
        (HEALTH + 'tcp="a:1"\nstable=-1', ["health_check.stable"]),
        (HEALTH + 'tcp="a"', ["health_check.tcp", "HOST:PORT"]),
        (HEALTH + 'http="ftp://a"', ["health_check.http", "https://"]),
        ("packages = 1", ["packages", "table"]),
        ("[packages]\nkeys = []", ["packages.keys", "not a known setting", "trusted_keys"]),
        ('[packages]\ntrusted_keys = ["RWx"]', ["packages.trusted_keys[0]", "begins with RW"]),
        (f'[packages]\ntrusted_keys = "{KEY}"', ["packages.trusted_keys", "begins with RW"]),
        (f'[packages]\ntrusted_keys = ["{KEY}", "{KEY}"]', ["packages.trusted_keys", "twice"]),
        ('[packages]\nallowed_hosts = ["*"]', ["packages.allowed_hosts[0]", "*.DOMAIN"]),
        ('[packages]\nallowed_hosts = ["10.0.0.1/8"]', ["packages.allowed_hosts[0]", "10.0.0.0/8"]),
        ("[packages]\nallowed_hosts = []", ["packages.allowed_hosts", "at least one"]),
        ("[packages]\nmax_bytes = 0", ["packages.max_bytes", "1 to 21474836480"]),
        ("[packages]\nmax_bytes = 21474836481", ["packages.max_bytes", "1 to 21474836480"]),
        ("[packages]\nmax_seconds = 0", ["packages.max_seconds", "above 0 to 86400"]),
        ("[packages]\nmin_rate = -1", ["packages.min_rate", "0 to 1000000000"]),
        ("[packages]\nverify_interval = -1", ["packages.verify_interval", "0 to 2592000"]),
        ("[packages]\nverify_interval = 2592001", ["packages.verify_interval", "0 to 2592000"]),
    ],
)
def test_a_mistake_in_the_agents_file_is_named(write: Write, text: str, names: list[str]) -> None:
    message = refusal(load_config, write(text))
    for name in names:
        assert name in message


def test_what_a_host_asks_of_packages_is_read(write: Write) -> None:
    config = load_config(
        write(f"""
[packages]
trusted_keys = ["{KEY}"]
allowed_hosts = ["packages.example.com:8443", "*.internal.example", "10.0.0.0/8"]
max_bytes = 1000000
max_seconds = 60
min_rate = 0
""")
    )
    terms = config.packages.terms()
    assert terms.trust.needs_signatures
    assert terms.hosts.refuse_host("packages.example.com", 8443) == ""
    assert terms.hosts.refuse_host("a.internal.example", 443) == ""
    assert terms.hosts.refuse_host("10.1.2.3", 443) == ""
    assert terms.hosts.refuse_host("packages.example.com", 443) != ""
    assert (terms.max_bytes, terms.max_seconds, terms.min_rate) == (1_000_000, 60.0, 0)


def test_without_the_table_packages_need_no_signature_and_may_be_private(write: Write) -> None:
    terms = load_config(write("")).packages.terms()
    assert not terms.trust.needs_signatures
    assert terms.hosts.refuse_host("127.0.0.1", 443) == ""
    assert terms.hosts.refuse_host("169.254.169.254", 443) != ""


def test_two_instances_may_not_share_a_root(write: Write) -> None:
    def instance(name: str, more: str) -> str:
        return f'[[instances]]\nid="{name}"\nservice="s"\ndriver="process"\ncommand=["x"]\n{more}\n'

    shared = instance("a", 'root = "/srv/s"') + instance("b", 'root = "/srv/s"')
    assert "a and b share the root /srv/s" in refusal(load_config, write(shared))
    default = "/var/lib/ferryman-agent/instances/a"
    by_default = instance("a", "") + instance("b", f'root = "{default}"')
    assert f"a and b share the root {default}" in refusal(load_config, write(by_default))


def test_all_mistakes_are_told_at_once(write: Write) -> None:
    message = refusal(load_config, write('host_id = ""\nkeep_releases = -1\nx = 1'))
    assert [line.split(": ")[1] for line in message.splitlines()] == [
        "host_id",
        "keep_releases",
        "x",
    ]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert "No such file" in refusal(load_config, tmp_path / "missing.toml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert "UTF-8" in refusal(load_config, tmp_path / "binary")
    (tmp_path / "deep").write_text("a = " + "[" * 100_000)
    assert "nested too deep" in refusal(load_config, tmp_path / "deep")


def test_the_join_token_is_in_no_message_and_no_repr(write: Write, tmp_path: Path) -> None:
    config = load_config(write('join_token = "ferryman-join-1.secret"'))
    assert "secret" not in repr(config)
    assert "secret" not in config.model_dump_json()
    assert config.read_join_token() == "ferryman-join-1.secret"
    assert "secret" not in refusal(load_config, write('join_token = ["secret"]'))


def test_the_join_token_file_is_read_when_it_is_needed(write: Write, tmp_path: Path) -> None:
    token_file = tmp_path / "join.token"
    config = load_config(write(f'join_token_file = "{token_file}"'))
    with pytest.raises(SettingsError, match="join_token_file"):
        config.read_join_token()
    token_file.write_text("the-token\n")
    assert config.read_join_token() == "the-token"
    token_file.write_text("\n")
    with pytest.raises(SettingsError, match="empty"):
        config.read_join_token()
    assert load_config(write("")).read_join_token() is None


# ---- the coordinator's file ------------------------------------------------


def test_the_coordinator_needs_no_file() -> None:
    settings = load_settings()
    assert settings == Settings()
    assert settings.data_dir == Path("/var/lib/ferryman")
    assert (settings.host, settings.port) == ("127.0.0.1", 7420)
    assert settings.database_url == "sqlite+aiosqlite:////var/lib/ferryman/coordinator.db"
    assert settings.heartbeat_interval == 10
    assert settings.discovery.enabled
    assert settings.tls.company is None


def test_flags_win_over_the_file(write: Write, tmp_path: Path) -> None:
    file = write("""
data_dir = "/srv/ferryman"
listen = "0.0.0.0:7000"
heartbeat_interval = 5
[tls]
names = ["ferryman.example.com", "10.0.0.1", "*.example.com"]
certificate = "/etc/ssl/company.pem"
key = "/etc/ssl/company.key"
[discovery]
enabled = false
""")
    settings = load_settings(file)
    assert (settings.host, settings.port) == ("0.0.0.0", 7000)
    assert settings.database_url == "sqlite+aiosqlite:////srv/ferryman/coordinator.db"
    assert settings.tls.company == (Path("/etc/ssl/company.pem"), Path("/etc/ssl/company.key"))
    assert not settings.discovery.enabled
    flagged = load_settings(file, tmp_path, "[::1]:0")
    assert (flagged.host, flagged.port) == ("::1", 0)
    assert flagged.database_url == f"sqlite+aiosqlite:///{tmp_path}/coordinator.db"
    assert flagged.heartbeat_interval == 5


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("data-dir = 1", ["data-dir", "did you mean data_dir"]),
        ("data_dir = 5", ["data_dir", "string"]),
        ('data_dir = ""', ["data_dir", "empty"]),
        ('listen = "7420"', ["listen", "HOST:PORT"]),
        ('listen = "::1:7420"', ["listen", "brackets"]),
        ('listen = "a:65536"', ["listen", "65535"]),
        ("heartbeat_interval = 0.01", ["heartbeat_interval", "0.05 to 3600"]),
        ("heartbeat_interval = nan", ["heartbeat_interval"]),
        ('database_url = ""', ["database_url"]),
        ('[tls]\nnames = ["a b"]', ["tls.names[0]", "host name"]),
        ('[tls]\ncertificate = "/x"', ["tls", "both or neither"]),
        ("[discovery]\nenable = true", ["discovery.enable", "enabled"]),
        ('[discovery]\nenabled = "yes"', ["discovery.enabled", "true or false"]),
        ("[strategy.careful]\ncanery = 1", ["strategy.careful.canery", "did you mean canary"]),
        ('[strategy.careful]\nname = "x"', ["strategy.careful.name", "not a known setting"]),
        ('[strategy.canary]\ncanary = "x"', ["strategy.canary.canary", '"0%" to "100%"']),
        ("[strategy.c]\nbake = -1", ["strategy.c.bake", "seconds from 0 to 604800"]),
        (
            '[strategy.c]\nwindows = [{ begin = "x", until = "06:00" }]',
            ["strategy.c.windows[0].begin", "00:00 to 24:00"],
        ),
        ('[strategy."a b"]', ['strategy."a b"', "A-Z a-z 0-9"]),
        ("[strategy.none]", ["strategy.none", "`--strategy` calls no strategy"]),
        ('[default_strategy]\n"web-*" = "x"', ['default_strategy."web-*"', "[strategy.x]", "none"]),
        ('[default_strategy]\n"web /" = "x"', ['default_strategy."web /"', "wildcards"]),
    ],
)
def test_a_mistake_in_the_coordinators_file_is_named(
    write: Write, text: str, names: list[str]
) -> None:
    message = refusal(load_settings, write(text))
    assert len(message.splitlines()) == 1
    for name in names:
        assert name in message


def test_strategies_are_read_by_their_names_and_defaults_in_their_order(write: Write) -> None:
    settings = load_settings(
        write("""
[strategy.careful]
canary = 1
max_failures = "10%"

[strategy.nightly]
windows = [{ days = ["mon"], begin = "22:00", until = "06:00", timezone = "Europe/Berlin" }]

[default_strategy]
"web-front" = "nightly"
"web-*" = "careful"
""")
    )
    strategies = Strategies(settings.strategy, settings.default_strategy)
    got = strategies.of_deployment(None, "web-back")
    assert got == Strategy(name="careful", canary=1, max_failures="10%")
    nightly = strategies.of_deployment(None, "web-front")
    assert nightly is not None
    assert nightly.windows is not None
    assert (nightly.name, nightly.windows[0].days) == ("nightly", ["mon"])
    assert strategies.of_deployment(None, "cart") is None


def test_a_wrong_flag_is_named_as_the_flag() -> None:
    with pytest.raises(SettingsError, match="--listen: must be HOST:PORT"):
        load_settings(listen="nonsense")


def test_the_database_url_may_hold_a_password_and_is_not_shown(write: Write) -> None:
    settings = load_settings(write('database_url = "postgresql+asyncpg://u:secret@db/f"'))
    assert settings.database_url.endswith("secret@db/f")
    assert "secret" not in repr(settings)


# ---- endpoints -------------------------------------------------------------


@pytest.mark.parametrize("text", ["a:1", "[::1]:7420", "10.0.0.1:65535", "a-b.c_d.:80"])
def test_an_endpoint_reads_as_it_is_written(text: str) -> None:
    assert format_endpoint(*parse_endpoint(text)) == text
    assert check_url(f"https://{text}/") == f"https://{text}"


@pytest.mark.parametrize(
    "text",
    ["", "a", ":1", "a:", "a:0", "a:-1", "a:+1", "a:1x", "::1:80", "[a]:80", "1.2.3:80", "a b:1"],
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse_endpoint(text)
