"""What interface section 3, "Input", refuses and accepts: one table for all doors."""

from __future__ import annotations

from typing import Any

TOO_LONG = "x" * 129
NO_NAMES: list[Any] = ["", "-a", ".a", "_a", "a b", "a/b", "a..b", "a\n", "é", "a+b", TOO_LONG, 5]
NAMES = ["a", "Z9", "9", "a.b_c-d", "x" * 128]
NO_VERSIONS: list[Any] = ["", "+1", "-1", "1..2", "v 1", "1/2", TOO_LONG, None, 1.2]
VERSIONS = ["v1.2.3", "1", "1.2.3-rc.1+build.5", "x" * 128]
NO_URLS: list[Any] = [
    "http://packages.example.com/a.tar.gz",
    "https://",
    "https:///a.tar.gz",
    "https://user@packages.example.com/a.tar.gz",
    "https://user:secret@packages.example.com/a.tar.gz",
    "https://packages.example.com:0/a.tar.gz",
    "https://packages.example.com/a b",
    'https://packages.example.com/a"b',
    "https://packages.example.com/a?b=<c>",
    "ftp://packages.example.com/a.tar.gz",
    "file:///etc/passwd",
    "packages.example.com/a.tar.gz",
    None,
]
NO_DIGESTS: list[Any] = ["", "0" * 63, "0" * 65, "G" * 64, "A" * 64, 7]
NO_TIMEOUTS: list[Any] = [0, -1, 86_401, 1.5, "300", True, None]
NO_COUNTS: list[Any] = [-1, 101, 0.5, "3", True, None]
NO_LIMITS: list[Any] = [0, -1, 1001, 1.5, "10", True, None]
NO_OFFSETS: list[Any] = [-1, 0.5, "0", True, None]
NO_INSTANCES: list[Any] = [
    [],
    ["a", "b", "a"],
    ["a", "not a name"],
    [f"i-{n}" for n in range(20_001)],
    "a",
    {},
    None,
]

DEPLOYMENT: dict[str, Any] = {
    "service": "user-service",
    "version": "v1",
    "instances": ["instance-1"],
    "package_url": "https://packages.example.com/a.tar.gz",
    "deploy_id": "deploy-1",
}
BATCH: dict[str, Any] = {
    "service": "user-service",
    "target_version": "v1",
    "instances": ["instance-1"],
}
SINGLE: dict[str, Any] = {"instance_id": "instance-1", "target_version": "v1"}

BAD_DEPLOYMENTS: list[tuple[str, Any]] = [
    *(("service", value) for value in NO_NAMES),
    *(("deploy_id", value) for value in NO_NAMES),
    *(("version", value) for value in NO_VERSIONS),
    *(("package_url", value) for value in NO_URLS),
    *(("instances", value) for value in NO_INSTANCES),
    *(("timeout", value) for value in NO_TIMEOUTS),
    *(("retry_count", value) for value in NO_COUNTS),
    *(("sha256", value) for value in NO_DIGESTS),
    ("batch_size", 5),
]
BAD_BATCHES: list[tuple[str, Any]] = [
    *(("service", value) for value in NO_NAMES),
    *(("target_version", value) for value in NO_VERSIONS),
    *(("package_url", value) for value in NO_URLS),
    *(("instances", value) for value in NO_INSTANCES),
    *(("timeout", value) for value in NO_TIMEOUTS),
    *(("sha256", value) for value in NO_DIGESTS),
    *(("force", value) for value in ("yes", 1, None)),
    ("retry_count", 3),
]
BAD_SINGLES: list[tuple[str, Any]] = [
    *(("target_version", value) for value in NO_VERSIONS),
    *(("package_url", value) for value in NO_URLS),
    *(("timeout", value) for value in NO_TIMEOUTS),
    *(("sha256", value) for value in NO_DIGESTS),
    *(("force", value) for value in ("yes", 1, None)),
    ("service", "user-service"),
]
