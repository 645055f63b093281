"""Schemathesis against a running coordinator: requests made from its own OpenAPI document.

It tries what the document allows and what it forbids, and holds every answer to it. `CHECKS` are
on: all that it has but two. `object_level_authorization` compares what two users see and does
nothing without a list of them; who sees which service is for
`tests/behaviour/test_restricted_tokens.py`. `max_response_time` is no check until a limit is
given, which the document has not; an answer that takes longer than 20 s is a failure, though.

One check is off at two routes, which refuse some of what the document allows
(`positive_data_acceptance`): no schema can say what a certificate request is, which
`/v1/agent/join` takes, nor which times are past, as the versions of a service are asked for.
Another is off at `/v1/deployment/plan` (`allow_header_conformance`): a deployment may be called
`plan`, and a GET there tells its state. And one route is left out: `/v1/events` answers with a
stream that never ends, and schemathesis reads every answer to its end.
`tests/integration/test_events_as_documented.py` is its test.

Some checks work in some phases only: the coverage phase sends requests without required headers
and with other methods, the stateful one asks for what it has made or removed.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

from tests.parts.daemons import BIN, CoordinatorDaemon

ENDLESS = "/v1/events"

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ensure_resource_availability",
    "ignored_auth",
)
LEFT_OUT = ("object_level_authorization",)

_SETTINGS = """
[[operations]]
include-path = "/v1/agent/join"
checks.positive_data_acceptance.enabled = false

[[operations]]
include-path = "/v1/service/{service}/versions"
checks.positive_data_acceptance.enabled = false

[[operations]]
include-path = "/v1/deployment/plan"
checks.allow_header_conformance.enabled = false
"""


@dataclass(frozen=True, slots=True)
class Tried:
    """How a run ended."""

    status: int
    output: str

    @property
    def cases(self) -> int:
        """How many requests were generated."""
        found = re.search(r"(\d[\d,]*) generated", self.output)
        return int(found[1].replace(",", "")) if found else 0


ALL_PHASES = "examples,coverage,fuzzing,stateful"


def _settings() -> str:
    """Not by `--checks`, which would switch them on at every route."""
    on = [f"{name}.enabled = true" for name in CHECKS]
    off = [f"{name}.enabled = false" for name in LEFT_OUT]
    return "\n".join(["[checks]", *on, *off, _SETTINGS])


async def tried(
    coordinator: CoordinatorDaemon,
    token: str,
    folder: Path,
    *,
    examples: int,
    seed: int,
    phases: str = ALL_PHASES,
) -> Tried:
    """Try `examples` requests for each operation, the same ones for a seed."""
    settings = folder / "schemathesis.toml"
    settings.write_text(_settings())
    argv = (
        *(
            str(BIN / "schemathesis"),
            "--config-file",
            str(settings),
            "run",
            f"{coordinator.url}/openapi.json",
        ),
        *("--header", f"Authorization: Bearer {token}"),
        *("--tls-verify", str(coordinator.ca_file)),
        *("--exclude-path", ENDLESS),
        *("--continue-on-failure", "--phases", phases),
        *("--max-examples", str(examples), "--seed", str(seed), "--no-shrink"),
        *("--request-timeout", "20", "--generation-database", "none"),
    )
    process = await asyncio.create_subprocess_exec(
        *argv, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode is not None
    return Tried(process.returncode, said.decode(errors="replace"))
