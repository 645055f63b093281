"""The frames between an agent and the coordinator: one tagged union for each direction.

Rules that both sides keep:

- Commands are at-least-once. Each carries the assignment's `task_id` and an `attempt`
  that only grows; an agent answers a repeat from its journal and refuses an older one.
- A `Report` is durable: the agent keeps it on disk until an `Ack` with its `seq` (numbered
  anew on each connection). The coordinator acknowledges only what it has committed.
  `Progress` and `Heartbeat` may get lost.
- Unknown fields are ignored, so that a newer minor version can add some. An unknown
  frame type or a different major version is refused with a reason.
- What ended on a host is numbered there, too. `Hello` tells the newest number; a coordinator
  that knows fewer names in `Welcome` from where on it wants to be told, and the `Past`
  frames come before all reports and the inventory.

Durations are seconds. No frame but `Past` carries a wall-clock time, and that is for people:
an agent's clock decides nothing.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from protocol.names import Digest, HostId, InstanceId, ServiceName, TaskId, Version
from protocol.states import InstanceStatus, TaskKind
from protocol.urls import without_queries

PROTOCOL_MAJOR = 1
PROTOCOL_MINOR = 3
OLDEST_ACCEPTED_MAJOR = 1
RENEWAL_MINOR = 1
"""An agent of an older minor version is never asked for a new certificate."""
REFUSAL_MINOR = 2
"""An agent of an older minor version is not told which of its instances are refused."""

AUTHORITIES_MINOR = 2
"""An agent of an older minor version can't be told of another authority."""
PREFETCH_MINOR = 3
"""An agent of an older minor version does not know that kind of task."""
WATCH_MINOR = 3
"""An agent of an older minor version watches nothing after its commit."""
PINS_MINOR = 3
"""An agent of an older minor version is not told which versions are pinned."""

FIXED_SERVER_NAME = "coordinator.ferryman.internal"
"""The name in the coordinator's certificate that agents verify, whatever address they dial."""

SHORTEST_HEARTBEAT = 0.01
"""Seconds: no coordinator can make its agents run in circles."""

MAX_TEXT = 4096
MAX_PEM = 16_384
MAX_AUTHORITIES = 2
MAX_PAST = 200
"""Entries in one `Past` frame."""
MAX_PINS = 4096
"""Pinned versions, of all services together: they fit into one frame."""


class Frame(BaseModel):
    """The base of all frames: immutable, tolerant of unknown fields, strict about types."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


Text = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(without_queries)]
"""For people, who may be anybody: no URL in it keeps its query, whichever side wrote it."""
Pem = Annotated[str, Field(max_length=MAX_PEM)]
MAX_SECONDS = 10_000_000
Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS)]
Attempt = Annotated[int, Field(ge=1, le=1_000_000_000)]
Bytes = Annotated[int, Field(ge=0, le=2**62)]
PastNumber = Annotated[int, Field(ge=0, le=1_000_000_000_000)]


class Step(Enum):
    """The agent's steps of one attempt, in order; `put_back` follows a failure from `stop` on."""

    PREPARE = "prepare"
    PREPARED = "prepared"
    STOP = "stop"
    SWITCH = "switch"
    START = "start"
    CHECK = "check"
    COMMIT = "commit"
    PUT_BACK = "put_back"


class Result(Enum):
    """How an attempt ended on the host."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


# ---- parts -----------------------------------------------------------------


class RetainedRelease(Frame):
    """A release on the host's disk that `rollback` can use, unless it is damaged."""

    version: Version
    digest: Digest
    proven_ago: Seconds | None = None
    """How long ago the host last found it whole; None if that is not known. Since 1.3."""
    damaged: Text = ""
    """What differs from what was unpacked, by the host's last look; "": nothing. Since 1.3."""

    @model_serializer(mode="wrap")
    def _without_what_is_not_known(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A host's inventory is large: what has nothing to say takes no room in it."""
        return {name: value for name, value in whole(self).items() if value not in (None, "")}


class InstanceState(Frame):
    """What the agent sees of one instance. `version` is "" when nothing was deployed."""

    instance_id: InstanceId
    service: ServiceName
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    address: Annotated[str, Field(max_length=255)] = ""
    metadata: Annotated[
        dict[Annotated[str, Field(max_length=128)], Annotated[str, Field(max_length=1024)]],
        Field(max_length=64),
    ] = Field(default_factory=dict)
    status: InstanceStatus
    version: Version | Literal[""] = ""
    digest: Digest | Literal[""] = ""
    reason: Text = ""
    retained: Annotated[list[RetainedRelease], Field(max_length=256)] = Field(default_factory=list)
    fetched: Annotated[list[RetainedRelease], Field(max_length=256)] = Field(default_factory=list)
    """On disk ahead of time, and never run here: no target of a rollback. Since 1.3."""
    free_bytes: Bytes | None = None
    """About how many bytes the disk of its releases has free; None: not known. Since 1.3."""


class PinnedVersion(Frame):
    """A version of a service that is kept on the host's disk whatever else is removed."""

    service: ServiceName
    version: Version


def _ran(kind: TaskKind) -> TaskKind:
    if kind is TaskKind.PREFETCH:
        raise ValueError("nothing runs in a prefetch: it is no part of a past")
    return kind


class TaskTold(Frame):
    """What a host knows of a task in which something ran."""

    kind: Annotated[TaskKind, AfterValidator(_ran)]
    service: ServiceName
    version: Version


class WorkInHand(Frame):
    """An assignment that the agent's journal holds, told on every connect."""

    task_id: TaskId
    instance_id: InstanceId
    attempt: Attempt
    step: Step


# ---- agent -> coordinator --------------------------------------------------


class Hello(Frame):
    """The first frame of a connection."""

    type: Literal["hello"] = "hello"
    major: int = PROTOCOL_MAJOR
    minor: int = PROTOCOL_MINOR
    host_id: HostId
    agent_version: Annotated[str, Field(max_length=64)]
    boot_id: Annotated[str, Field(max_length=64)] = ""
    past_number: PastNumber = 0
    """The newest entry of the host's own past; 0 if there is none. Since 1.1."""
    authorities: Annotated[list[Digest], Field(max_length=MAX_AUTHORITIES)] = Field(
        default_factory=list
    )
    """SHA-256 of each authority that the host believes. Since 1.2."""


class Inventory(Frame):
    """All instances of the host and all work in hand: the second frame of a connection."""

    type: Literal["inventory"] = "inventory"
    instances: Annotated[list[InstanceState], Field(max_length=4096)]
    in_hand: Annotated[list[WorkInHand], Field(max_length=4096)] = Field(default_factory=list)


class Heartbeat(Frame):
    """The agent is alive; answered by `HeartbeatAck` with the same number."""

    type: Literal["heartbeat"] = "heartbeat"
    number: Annotated[int, Field(ge=0)]


class StateChanged(Frame):
    """An instance looks different from what was told before."""

    type: Literal["state_changed"] = "state_changed"
    instance: InstanceState


class Progress(Frame):
    """How far an attempt is; may get lost."""

    type: Literal["progress"] = "progress"
    task_id: TaskId
    instance_id: InstanceId
    attempt: Attempt
    step: Step
    bytes_done: Annotated[int, Field(ge=0)] = 0
    bytes_total: Annotated[int, Field(ge=0)] | None = None
    note: Text = ""
    release_bytes: Bytes | None = None
    """How many bytes the unpacked release has, told when it is there. Since 1.3."""


class Taken(Frame):
    """`prepare` is in the journal; work has begun."""

    kind: Literal["taken"] = "taken"


class Prepared(Frame):
    """The verified release is on disk."""

    kind: Literal["prepared"] = "prepared"
    digest: Digest
    from_disk: bool = False


class Ended(Frame):
    """The attempt ended. `message` is for people; `passing` says that another try may help."""

    kind: Literal["ended"] = "ended"
    result: Result
    step: Step
    """The step that was reached: for a failure, the one that failed."""
    message: Text = ""
    passing: bool = False
    retry_after: Seconds = 0.0
    """How long the package server asked to be left alone before another try."""
    put_back: bool = False
    """Whether something was stopped and the old release was put back (or cleaned up)."""
    digest: Digest | Literal[""] = ""


class Regressed(Frame):
    """A release that was healthy at first regressed while it was watched. Since 1.3.

    It follows the `Ended` of the same attempt, once; `message` is for people. Only a
    coordinator that asked for it (`Activate.watch`) is told.
    """

    kind: Literal["regressed"] = "regressed"
    message: Text = ""
    digest: Digest | Literal[""] = ""
    after: Seconds | None = None
    """How long the host had watched it, since the commit, when it first looked unwell; None where
    nobody knows: a watch had ended, and another one began later."""


class Report(Frame):
    """A durable statement about one attempt, with the instance as it is after it."""

    type: Literal["report"] = "report"
    seq: Annotated[int, Field(ge=1)]
    task_id: TaskId
    instance_id: InstanceId
    attempt: Attempt
    event: Annotated[Taken | Prepared | Ended | Regressed, Field(discriminator="kind")]
    instance: InstanceState
    task: TaskTold | None = None
    """What an attempt that ended was of, for a coordinator that lost the task. Since 1.1."""
    past_number: PastNumber = 0
    """The entry of the host's past that says the same; 0 if there is none. Since 1.1."""


class PastEntry(Frame):
    """The end of one attempt, as the host's own past keeps it."""

    number: Annotated[int, Field(ge=1, le=1_000_000_000_000)]
    """Counts the entries of the host; they are told in this order."""
    at: AwareDatetime
    """The host's wall clock, for people only."""
    task_id: TaskId
    instance_id: InstanceId
    attempt: Attempt
    task: TaskTold
    ended: Ended


class Past(Frame):
    """Some of what ended on the host, in order: before all reports. Since 1.1."""

    type: Literal["past"] = "past"
    entries: Annotated[list[PastEntry], Field(min_length=1, max_length=MAX_PAST)]


class CertificateRequest(Frame):
    """The answer to `RenewCertificate`: a request (PKCS #10, PEM) for a key made just now."""

    type: Literal["certificate_request"] = "certificate_request"
    csr: Pem


class Renewed(Frame):
    """How the renewal ended: `failure` is "" when the new certificate is on the host's disk."""

    type: Literal["renewed"] = "renewed"
    failure: Text = ""


class AuthoritiesKept(Frame):
    """The answer to `Authorities`: what the host believes now, and why not more. Since 1.2."""

    type: Literal["authorities_kept"] = "authorities_kept"
    authorities: Annotated[list[Digest], Field(max_length=MAX_AUTHORITIES)]
    failure: Text = ""


# ---- coordinator -> agent --------------------------------------------------


class Welcome(Frame):
    """The answer to `Hello`."""

    type: Literal["welcome"] = "welcome"
    major: int = PROTOCOL_MAJOR
    minor: int = PROTOCOL_MINOR
    heartbeat_interval: Annotated[float, Field(ge=SHORTEST_HEARTBEAT, le=3600)]
    coordinator_version: Annotated[str, Field(max_length=64)] = ""
    reconnect_spread: Annotated[float, Field(ge=0, le=3600)] = 0.0
    """Over how many seconds the fleet is to come back when it has lost the coordinator."""
    tell_past_after: PastNumber | None = None
    """Tell what has a greater number before anything else; None for nothing. Since 1.1."""


class HeartbeatAck(Frame):
    """The answer to `Heartbeat`."""

    type: Literal["heartbeat_ack"] = "heartbeat_ack"
    number: Annotated[int, Field(ge=0)]


class Ack(Frame):
    """The report with this `seq` is committed."""

    type: Literal["ack"] = "ack"
    seq: Annotated[int, Field(ge=1)]


class Prepare(Frame):
    """Get the release onto the disk and verify it; stop nothing.

    `use_retained` lets a release on disk serve if it still verifies (always tried first when
    it is set); `package_url` is the way to fetch it, "" if there is none. `digest` is the
    task's digest, "" when the first verified download will decide it. `force` goes through
    the switch even if this very release runs already. `time_left` bounds preparing.
    For a prefetch the attempt ends, and succeeds, once the release is on disk; that kind is
    since 1.3.

    The same again of an attempt that is in hand is answered with what was last reported, and
    renews its `hold`.
    """

    type: Literal["prepare"] = "prepare"
    task_id: TaskId
    instance_id: InstanceId
    attempt: Attempt
    kind: TaskKind
    service: ServiceName
    version: Version
    package_url: Annotated[str, Field(max_length=8192)] = ""
    digest: Digest | Literal[""] = ""
    use_retained: bool = False
    force: bool = False
    time_left: Seconds
    hold: Seconds = 0.0
    """How long the prepared release is kept waiting for `Activate`, counted from when it is
    prepared, or from this repeat; 0: until `time_left` is over. Since 1.3."""


class Activate(Frame):
    """Stop, switch, start, check: and put back alone what fails.

    The same again of an attempt that has ended is answered with how it ended.
    """

    type: Literal["activate"] = "activate"
    task_id: TaskId
    instance_id: InstanceId
    attempt: Attempt
    digest: Digest
    time_left: Seconds
    """What bounds the switch."""
    watch: Seconds = 0.0
    """How long after the commit the service is watched for a regression. Since 1.3."""
    renews: bool = False
    """Nothing is switched: what this attempt has switched to is watched for `watch` from now on, at
    least. Where it is not the last that ended here, nothing is done. Since 1.3."""


class Cancel(Frame):
    """Give the assignment up if `stop` has not been reached; the answer is an `Ended` report."""

    type: Literal["cancel"] = "cancel"
    task_id: TaskId
    instance_id: InstanceId
    attempt: Attempt


class RenewCertificate(Frame):
    """Make a new key and ask for a certificate; this connection stays."""

    type: Literal["renew_certificate"] = "renew_certificate"


class Certificate(Frame):
    """The answer to `CertificateRequest`: the certificate, or why there is none."""

    type: Literal["certificate"] = "certificate"
    pem: Pem = ""
    refusal: Text = ""


class InstanceRefused(Frame):
    """This instance belongs to another host: nothing that is said of it counts. Since 1.2."""

    type: Literal["instance_refused"] = "instance_refused"
    instance_id: InstanceId
    reason: Text


class Authorities(Frame):
    """Believe exactly these authorities (PEM) from now on. Since 1.2."""

    type: Literal["authorities"] = "authorities"
    pems: Annotated[list[Pem], Field(min_length=1, max_length=MAX_AUTHORITIES)]


class Pins(Frame):
    """Everything that is pinned of the host's services, and nothing else is. Since 1.3."""

    type: Literal["pins"] = "pins"
    pins: Annotated[list[PinnedVersion], Field(max_length=MAX_PINS)]


ToCoordinator = Annotated[
    Hello
    | Inventory
    | Heartbeat
    | StateChanged
    | Progress
    | Report
    | Past
    | CertificateRequest
    | Renewed
    | AuthoritiesKept,
    Field(discriminator="type"),
]
ToAgent = Annotated[
    Welcome
    | HeartbeatAck
    | Ack
    | Prepare
    | Activate
    | Cancel
    | RenewCertificate
    | Certificate
    | InstanceRefused
    | Authorities
    | Pins,
    Field(discriminator="type"),
]
Command = Prepare | Activate | Cancel
