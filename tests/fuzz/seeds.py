"""What the bytes begin from: one good input of each kind, and every bad frame."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping

from coordinator.http.routes import ROUTES
from protocol import messages
from protocol.codec import encode
from protocol.states import InstanceStatus, TaskKind
from tests.fuzz.targets import MENDED
from tests.parts.bad_frames import BAD_FRAMES
from tests.parts.routes import BODIES

LONGEST = 4096

_WORK = {"task_id": "deploy-1", "instance_id": "instance-1", "attempt": 1}
_STATE = messages.InstanceState(
    instance_id="instance-1", service="user-service", status=InstanceStatus.RUNNING
)
_TOLD = messages.TaskTold(kind=TaskKind.DEPLOY, service="user-service", version="v1")
_ENDED = messages.Ended(result=messages.Result.SUCCEEDED, step=messages.Step.COMMIT)


def _frames() -> Iterator[bytes]:
    digest = "a" * 64
    for frame in (
        messages.Hello(host_id="host-a", agent_version="1"),
        messages.Inventory(instances=[_STATE]),
        messages.Heartbeat(number=1),
        messages.StateChanged(instance=_STATE),
        messages.Progress(**_WORK, step=messages.Step.PREPARE, bytes_done=1),
        messages.Report(**_WORK, seq=1, event=_ENDED, instance=_STATE, task=_TOLD),
        messages.CertificateRequest(csr="PEM"),
        messages.Renewed(),
        messages.Welcome(heartbeat_interval=10.0),
        messages.HeartbeatAck(number=1),
        messages.Ack(seq=1),
        messages.Activate(**_WORK, digest=digest, time_left=1.0),
        messages.Cancel(**_WORK),
        messages.RenewCertificate(),
        messages.Certificate(pem="PEM"),
        messages.Pins(pins=[messages.PinnedVersion(service="user-service", version="v1")]),
    ):
        yield encode(frame)
    yield from (bad.data for bad in BAD_FRAMES if len(bad.data) <= LONGEST)


def _archives() -> Iterator[bytes]:
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w", format=form) as tar:
            long = tarfile.TarInfo("a" * 120 if form != tarfile.USTAR_FORMAT else "bin/server")
            long.size, long.mode = 3, 0o755
            tar.addfile(long, io.BytesIO(b"abc"))
            link = tarfile.TarInfo("link")
            link.type, link.linkname = tarfile.SYMTYPE, "bin/server"
            tar.addfile(link)
        plain = made.getvalue()[: LONGEST - 1]
        yield bytes([MENDED]) + plain
        yield from (bytes([way]) + plain for way in range(3))
        yield b"\0" + gzip.compress(plain)


def _settings() -> Iterator[bytes]:
    yield (
        b'host_id = "a"\nstate_dir = "/a"\njoin_token = "t"\n[log]\nformat = "json"\n'
        b'[[instances]]\nid = "i"\nservice = "s"\ndriver = "process"\ncommand = ["./a"]\n'
        b'metadata = { a = "b" }\n[instances.health_check]\nhttp = "http://a/"\ntimeout = 1.5\n'
    )
    yield b'data_dir = "/a"\nlisten = "[::1]:1"\nheartbeat_interval = 1\n[tls]\nnames = ["a"]\n'
    yield b'a = 1979-05-27T07:32:00Z\nb = [1, nan, 0x10]\nc = """\\u00e9"""\n'


def _requests() -> Iterator[bytes]:
    for number, route in enumerate(ROUTES):
        body = json.dumps(BODIES.get(route.name, {})).encode() if route.method == "POST" else b""
        query = "&".join(f"{name}=1" for name in route.other_fields) if not body else ""
        yield bytes([number]) + b"some-1\0" + query.encode() + b"\0" + body


SEEDS: Mapping[str, Callable[[], Iterator[bytes]]] = {
    "codec": _frames,
    "archive": _archives,
    "settings": _settings,
    "http": _requests,
}
