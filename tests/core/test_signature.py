"""What of a failure's text is the cause's, and what is one instance's own."""

from __future__ import annotations

import pytest

from coordinator.core.signature import read

OWN = {"web-a", "web-b", "a", "host-a", "host-b"}

HEALTH = "health check http://127.0.0.1:{port}/healthz answered 500; not healthy within 3 s"
LINES = "check: exited with status 1 0.3 s after the start; last lines:\n"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("web-a: refused", "web-b: refused"),
        (f"start: {HEALTH.format(port=8081)}", f"start: {HEALTH.format(port=30393)}"),
        (
            "start: unit ferryman-instance-web-a.service did not start: exited with status 3"
            " 0.1 s after the start",
            "start: unit ferryman-instance-web-b.service did not start: exited with status 3"
            " 12.4 s after the start",
        ),
        (
            "no space for a package of 500 bytes: 1000 must be free, 7 are",
            "no space for a package of 500 bytes: 1000 must be free, 99 are",
        ),
        (
            "https://p.example/v2: broke off after 0 of 900 bytes: stalled for 5 s",
            "https://p.example/v2: broke off after 899 of 900 bytes: stalled for 7.5 s",
        ),
        (
            f"package changed: expected sha256 {'a1' * 32}, got {'b2' * 32}",
            f"package changed: expected sha256 {'a1' * 32}, got {'c3' * 32}",
        ),
        (
            "can't publish the release v2-0d90166bbc76: Input/output error"
            " (/srv/web-a/releases/.staging-0011223344556677)",
            "can't publish the release v2-0d90166bbc76: Input/output error"
            " (/srv/web-b/releases/.staging-8899aabbccddeeff)",
        ),
        (
            "would not end, even killed: processes 12, 3456",
            "would not end, even killed: processes 9",
        ),
        (LINES + "2026-01-02T03:04:05.678Z down", LINES + "2027-11-12 13:14:15,1 down"),
        (
            LINES + "Jan 02 03:04:05 host-a web[4242]: no",
            LINES + "Dec 12 13:14:15 host-b web[7]: no",
        ),
        (LINES + "no 10.0.0.7:5432, no [fe80::1]", LINES + "no 10.9.9.9:5432, no [fe80::2]"),
        (LINES + "can't read /tmp/abc/x", LINES + "can't read /tmp/tmpq1w2e3r4"),
        (LINES + "object at 0x7f00aabb", LINES + "object at 0x55aa"),
        (LINES + "port 8080 is taken by pid 77", LINES + "port 8081 is taken by pid 78"),
        (
            LINES + "request 123e4567-e89b-12d3-a456-426614174000 failed",
            LINES + "request 00000000-e89b-12d3-a456-426614174999 failed",
        ),
        (LINES + "1\n2\n3\nthe\nlast\nlines", LINES + "7\n8\n9\nthe\nlast\nlines"),
    ],
)
def test_what_is_an_instances_own_parts_no_causes(one: str, other: str) -> None:
    assert one != other
    assert read(one, OWN).signature == read(other, OWN).signature


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            "2026/01/02 03:04:05 [emerg] 1234#1234: bind() to 0.0.0.0:8080 failed (98: in use)",
            "2026/01/02 13:14:15 [emerg] 987#987: bind() to 0.0.0.0:18081 failed (98: in use)",
        ),
        ("[error] 1234#0: *57 connect() failed", "[error] 987#0: *3 connect() failed"),
        (
            "2026-01-02 03:04:05.678 ERROR 4711 --- [main] o.s.boot.SpringApplication : no",
            "2026-01-02 03:04:06.001 ERROR 815 --- [main] o.s.boot.SpringApplication : no",
        ),
        (
            "E0102 03:04:05.678901    4711 main.go:12] no lease",
            "E0203 13:14:15.000001 9 main.go:12] no lease",
        ),
        (
            '{"level":50,"time":1700000000123,"pid":123,"msg":"no"}',
            '{"level":50,"time":1700000099456,"pid":45678,"msg":"no"}',
        ),
        ('{"level":"error","ts":1700000000.123}', '{"level":"error","ts":1700000099.4}'),
        ("(node:1234) Warning: no", "(node:98) Warning: no"),
        (
            "Error: listen EADDRINUSE: address already in use :::8080",
            "Error: listen EADDRINUSE: address already in use :::18081",
        ),
        ("listen tcp :8080: bind: in use", "listen tcp :18081: bind: in use"),
        ("PORT=8080 is taken", "PORT=18081 is taken"),
        ("PORT=8080 is taken", "PORT=8081 is taken"),
        ("Port 8080 was already in use.", "Port 80 was already in use."),
        ('{"port": 8080}', '{"port": 18081}'),
        ("localhost:8080 refused", "localhost:18081 refused"),
        ("http://web:8080/ refused", "http://web:18081/ refused"),
        ("db.example.com:5432 refused", "db.example.com:15432 refused"),
        ("host-a:8080 refused", "host-b:18081 refused"),
        ("goroutine 1 [running]:", "goroutine 18 [running]:"),
        ("no answer after 1m3.2s", "no answer after 2m0.9s"),
        ("no answer after 1h0m3s", "no answer after 59.5s"),
        ("ended after 300ms", "ended after 1.5µs"),
        ("error after 5 s: no", "error after 7.5 s: no"),
    ],
)
def test_common_formats_of_logs_part_no_causes(one: str, other: str) -> None:
    assert read(LINES + one, OWN).signature == read(LINES + other, OWN).signature


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("panic at main.go:1234", "panic at main.go:4321"),
        ("panic at main.go:12345", "panic at main.go:54321"),
        ("at src/main.rs:1234:5", "at src/main.rs:4321:5"),
        ("at Main.main(Main.java:1234)", "at Main.main(Main.java:4321)"),
        ("refused: error code 40010", "refused: error code 50020"),
        ('{"code":40010}', '{"code":50020}'),
        ('{"statusCode": 40010}', '{"statusCode": 50020}'),
        ('{"status":4001}', '{"status":5002}'),
        ("error 40010: no", "error 50020: no"),
        ("failed with error code 0x80070005", "failed with error code 0x80004005"),
        ("ended with code -1073741819", "ended with code -1073741515"),
        ("SQLSTATE[42000]: no", "SQLSTATE[28000]: no"),
        ("db.example.com:5432 refused", "cache.example.com:5432 refused"),
        ("E0102 03:04:05.678901 9 a.go:1] no", "F0102 03:04:05.678901 9 a.go:1] no"),
    ],
)
def test_lines_of_files_and_codes_part_causes(one: str, other: str) -> None:
    assert read(LINES + one, OWN).signature != read(LINES + other, OWN).signature


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("start: exited with status 3 0.1 s after the start", "check: exited with status 3"),
        ("check: exited with status 3", "check: exited with status 4"),
        ("check: killed by signal 9 (SIGKILL)", "check: killed by signal 11 (SIGSEGV)"),
        (
            "https://p.example/v2: the server answered 404",
            "https://p.example/v2: the server answered 403",
        ),
        (LINES + "KeyError: 'name'", LINES + "KeyError: 'port'"),
        (LINES + "backend answered 404", LINES + "backend answered 500"),
        ("check: it ended", "check: it ended; putting back failed, too: unit web is masked"),
        ("command 'a-b' not found", "command 'c-d' not found"),
    ],
)
def test_other_causes_stay_apart(one: str, other: str) -> None:
    assert read(one, OWN).signature != read(other, OWN).signature


def test_how_it_was_put_back_is_no_part_of_the_cause() -> None:
    cause = "check: exited with status 3 0.1 s after the start; last lines:\nout of ideas"
    ends = [read(f"{cause}; {end}", OWN) for end in ("v1 was put back", "left stopped and clean")]
    assert {one.signature for one in ends} == {read(cause, OWN).signature}
    assert [one.put_back for one in ends] == [True, False]


def test_an_attempt_after_which_the_time_was_over_failed_as_it_did() -> None:
    cause = "https://p.example/v2: the server answered 503"
    over = read(f"timed out after 60 s; the last attempt failed: {cause}", OWN)
    assert over == read(cause, OWN)


@pytest.mark.parametrize(
    ("message", "step"),
    [
        ("stop: systemd knows no unit web.service", "stop"),
        ("switch: can't switch current: Read-only file system", "switch"),
        ("start: command './x' not found on PATH", "start"),
        ("check: it restarted by itself", "check"),
        ("commit: the journal can't be written: disk full", "commit"),
        ("package refused: it is empty", "prepare"),
        ("checksum: wrong", "prepare"),
        ("timed out after 60 s before the switch; the old version was not touched", "prepare"),
        ("timed out after 60 s: the agent was away", ""),
        ("timed out after 60 s; the last attempt failed: check: it ended", "check"),
        ("", ""),
    ],
)
def test_the_step_is_read_from_the_agents_words(message: str, step: str) -> None:
    assert read(message, OWN).signature.step == step


def test_a_regression_is_told_from_a_failure_of_the_same_kind() -> None:
    cause = "exited with status 3 0.1 s after the start; last lines:\nout of ideas"
    later = read(f"healthy at first, then: {cause}", OWN).signature
    assert (later.step, later.exit_status, later.regressed) == ("", 3, True)
    assert later != read(f"check: {cause}", OWN).signature


def test_only_the_agents_words_tell_numbers() -> None:
    service = "check: it restarted by itself; last lines:\nexited with status 5; answered 404"
    signature = read(service, OWN).signature
    assert (signature.exit_status, signature.signal, signature.http_status) == (None, None, None)

    checked = "check: health check command './ok' ended with status 7:\nkilled by signal 9"
    assert read(checked, OWN).signature.exit_status == 7
    assert read("check: killed by signal 11 (SIGSEGV) 1.0 s after", OWN).signature.signal == 11
    assert read(f"check: {HEALTH}", OWN).signature.http_status == 500
