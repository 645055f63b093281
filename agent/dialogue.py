"""What the agent and its coordinator say to each other, whatever carries it.

What is not acknowledged is told again on every connection, before the inventory; what the
coordinator has lost of the host's past comes before both. Reports are numbered anew on each
connection; what comes while there is none waits in the journals. Frames go into an outbox
and come in by `hear`; nothing here knows sockets or time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping

from agent.journal import Unsent
from agent.past import Past
from agent.pins import Pins
from agent.renewal import Renewal
from agent.worker import Worker
from protocol.messages import (
    Ack,
    Activate,
    Authorities,
    Cancel,
    Certificate,
    Command,
    Ended,
    HeartbeatAck,
    InstanceRefused,
    InstanceState,
    Inventory,
    Prepare,
    Progress,
    RenewCertificate,
    Report,
    StateChanged,
    ToAgent,
    ToCoordinator,
    Welcome,
)
from protocol.messages import (
    Past as PastFrame,
)
from protocol.messages import (
    Pins as PinsFrame,
)

log = logging.getLogger(__name__)

Outbox = asyncio.Queue[ToCoordinator]

REMEMBERED = 100
"""Tasks of one instance, in whose order commands must come on a connection."""


class Dialogue:
    """Implements `ledger.Link`."""

    def __init__(self) -> None:
        self._workers: Mapping[str, Worker] = {}
        self._past: Past | None = None
        self._renewal: Renewal | None = None
        self._pins = Pins()
        self._outbox: Outbox | None = None
        self._next_seq = 1
        self._awaited: dict[int, tuple[str, int]] = {}
        self._begun: dict[str, list[str]] = {}
        """By instance: the tasks whose `prepare` came on this connection, in their order."""

    def attach(
        self,
        workers: Mapping[str, Worker],
        past: Past | None = None,
        renewal: Renewal | None = None,
        pins: Pins | None = None,
    ) -> None:
        """Name the workers that commands are for, by instance; before the first connection.

        Without `past` nothing is told of it, without `renewal` the certificate stays, without
        `pins` nobody hears what is pinned.
        """
        self._workers = workers
        self._past = past
        self._renewal = renewal
        self._pins = pins or self._pins

    @property
    def past_number(self) -> int:
        """The newest entry of the host's past."""
        return self._past.number if self._past else 0

    @property
    def believed(self) -> tuple[str, ...]:
        """The digests of the authorities that the agent believes."""
        return self._renewal.believed if self._renewal else ()

    def past_after(self, number: int) -> Iterator[PastFrame]:
        """What ended on this host, from an entry on; to be told before the outbox is opened."""
        for entries in self._past.after(number) if self._past else ():
            yield PastFrame(entries=entries)

    async def look_around(self) -> None:
        """Look at every service, and tell what looks different."""
        for worker in self._workers.values():
            await worker.look()

    # ---- ledger.Link -------------------------------------------------------

    def report(self, instance_id: str, report: Unsent, state: InstanceState) -> None:
        """Send a report now if there is a connection; otherwise the next one asks for it."""
        if self._outbox is None:
            return
        seq = self._next_seq
        self._next_seq += 1
        self._awaited[seq] = (instance_id, report.number)
        frame = Report(
            seq=seq,
            task_id=report.task_id,
            instance_id=instance_id,
            attempt=report.attempt,
            event=report.event,
            instance=state,
            task=report.task,
            past_number=self._number_of(instance_id, report),
        )
        self._outbox.put_nowait(frame)

    def _number_of(self, instance_id: str, report: Unsent) -> int:
        if self._past is None or not isinstance(report.event, Ended):
            return 0
        return self._past.number_of(instance_id, report.task_id, report.attempt)

    def tell(self, frame: Progress | StateChanged) -> None:
        """Send a frame that may get lost."""
        if self._outbox is not None:
            self._outbox.put_nowait(frame)

    # ---- one connection ----------------------------------------------------

    def catch_up(self) -> Outbox:
        """Open the outbox with all that is not acknowledged, and then the inventory."""
        outbox: Outbox = asyncio.Queue()
        self._outbox = outbox
        self._next_seq = 1
        self._awaited.clear()
        self._begun.clear()
        for instance_id, worker in self._workers.items():
            for report in worker.unsent:
                self.report(instance_id, report, worker.state)
        workers = self._workers.values()
        outbox.put_nowait(
            Inventory(
                instances=[worker.state for worker in workers],
                in_hand=[work for worker in workers if (work := worker.in_hand)],
            )
        )
        return outbox

    def hear(self, frame: ToAgent) -> None:
        """Take in what the coordinator said."""
        match frame:
            case Ack(seq=seq):
                instance_id, number = self._awaited.pop(seq, ("", 0))
                if instance_id in self._workers:
                    self._workers[instance_id].acknowledged(number)
            case Prepare() | Activate() | Cancel():
                worker = self._workers.get(frame.instance_id)
                if worker is not None and not self._is_late(frame):
                    worker.handle(frame)
            case RenewCertificate() | Certificate() | Authorities():
                if self._renewal and self._outbox is not None:
                    self._renewal.hear(frame, self._outbox.put_nowait)
            case PinsFrame():
                self._pins.keep(frame)
            case InstanceRefused(instance_id=instance_id, reason=reason):
                log.error("the coordinator refuses instance %s: %s", instance_id, reason)
            case HeartbeatAck() | Welcome():
                pass

    def _is_late(self, command: Command) -> bool:
        """Whether another task has followed this one on the instance already.

        A coordinator never goes back to an earlier task: such a command is a repeat that was
        under way for long, and its task may have ended here any time ago. It could only do
        harm; giving up never does.
        """
        begun = self._begun.setdefault(command.instance_id, [])
        if isinstance(command, Prepare) and command.task_id not in begun:
            begun.append(command.task_id)
            del begun[:-REMEMBERED]
        late = command.task_id in begun[:-1]
        return late and not isinstance(command, Cancel)

    def hang_up(self) -> None:
        """The connection is gone; what was not acknowledged waits for the next."""
        self._outbox = None
        self._awaited.clear()
        if self._renewal:
            self._renewal.hang_up()
