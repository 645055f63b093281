"""One commit's worth of work: steps over working copies, collected as `Changes`.

A batch changes nothing outside itself. If its commit fails it is thrown away; if it
succeeds the engine adopts it. It does no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from coordinator.admission import described, in_brief
from coordinator.conflicts import (
    exists_otherwise,
    has_ended,
    held_conflict,
    held_instance,
    id_field,
    no_task,
    nothing_to_promote,
    unknown_instances,
)
from coordinator.core import happenings, rollout
from coordinator.core.chain import AuditRow
from coordinator.core.decisions import waits_for_promotion
from coordinator.core.evidence import accepted, done, said, under_way
from coordinator.core.pins import PinDraft, PinRow
from coordinator.core.returns import led_to, way_back
from coordinator.core.task import Assignment, Task
from coordinator.core.timeline import Transition, entered, has_moved
from coordinator.fleet import Fleet
from coordinator.ports import (
    Changes,
    Clock,
    EventRow,
    HistoryRow,
    HostRow,
    InstanceRow,
    Sender,
)
from coordinator.stream import assignment_events, instance_event, task_event
from coordinator.told import row_of_entry
from protocol.messages import Command, PastEntry
from protocol.states import Phase, TaskKind

Brings = Callable[[Mapping[str, str], Mapping[str, str]], Sequence[AuditRow]]
"""Makes the rows of what a host brings: of which service each of those instances was before
("": it belonged to no host), and is now."""

_OUTCOMES: Mapping[Phase, Literal["success", "failed", "cancelled"]] = {
    Phase.COMPLETED: "success",
    Phase.FAILED: "failed",
    Phase.CANCELLED: "cancelled",
}


class Batch:
    """Working copies of tasks, holds and rows."""

    def __init__(
        self,
        tasks: Mapping[str, Task],
        holds: Mapping[str, str],
        fleet: Fleet,
        sender: Sender,
        clock: Clock,
        *,
        new_id: Callable[[], str],
    ) -> None:
        self._saved = tasks
        self._new_id = new_id
        self._tasks: dict[str, Task] = {}
        self._created: set[str] = set()
        self._parts: dict[tuple[str, str], Assignment] = {}
        self._history: list[HistoryRow] = []
        self._transitions: list[tuple[str, Transition]] = []
        self.events: list[EventRow] = []
        self.audit: list[AuditRow] = []
        self._fleet = fleet
        self._sender = sender
        self._now = clock.now()
        self._hosts: dict[str, HostRow] = {}
        self._instances: dict[str, InstanceRow] = {}
        self.released: set[str] = set()
        self.pins = PinDraft(fleet.pins)
        self.holds = dict(holds)
        self.effects: list[tuple[str, happenings.Send | happenings.Wake]] = []
        self.after_commit: list[Callable[[], None]] = []

    @property
    def hosts(self) -> list[HostRow]:
        """Rows of hosts that were described."""
        return list(self._hosts.values())

    @property
    def instances(self) -> list[InstanceRow]:
        """Rows of instances that were described."""
        return list(self._instances.values())

    def touched(self) -> list[Task]:
        """The tasks that were created or changed, as they will be saved."""
        return [self._as_saved(task) for task in self._tasks.values()]

    def changes(self) -> Changes:
        """Everything to write."""
        touched = self.touched()
        return Changes(
            created=[task for task in touched if task.task_id in self._created],
            tasks=[task for task in touched if task.task_id not in self._created],
            assignments=[
                (task_id, part)
                for (task_id, _), part in self._parts.items()
                if task_id not in self._created
            ],
            history=self._history,
            transitions=self._transitions,
            released=sorted(self.released),
            instances=self.instances,
            hosts=self.hosts,
            unpinned=self.pins.removed,
            pinned=self.pins.added,
            events=self.events
            + [
                EventRow(self._now.wall, "task", task_event(task, self._fleet.host_of))
                for task in touched
            ],
            audit=self.audit,
        )

    # ---- requests ----------------------------------------------------------

    def create(self, task: Task, audit: AuditRow) -> Task:
        """Accept a task, or answer with the equal one that exists; `audit` is the request's row."""
        existing = self._find(task.task_id)
        if existing is not None:
            if existing.fingerprint == task.fingerprint and existing.kind is task.kind:
                self._record(audit, {**accepted(existing), "was_there": True})
                return existing
            raise exists_otherwise(id_field(task.kind), task.task_id)
        held = {self.holds[name] for name in task.assignments if name in self.holds}
        self._begin(self._take_instances(task))
        taken = {"took_over_from": sorted(held)} if held else {}
        self._record(audit, {**accepted(task), **taken})
        return self._tasks[task.task_id]

    def steer(
        self, kind: TaskKind, task_id: str, event: happenings.Steering, audit: AuditRow
    ) -> Task:
        """Cancel, pause, resume or promote a task; `audit` is the request's row."""
        task = self._find(task_id)
        if task is None or task.kind is not kind:
            raise no_task(kind, task_id)
        if task.state.ended:
            raise has_ended(task)
        match event:
            case happenings.PromoteAsked() if not waits_for_promotion(task, self._now.steady):
                raise nothing_to_promote(task)
            case happenings.CancelAsked():
                event = replace(event, connected=self._connected(task.assignments))
        self._step(task_id, [event])
        steered = self._tasks.get(task_id, task)
        self._record(replace(audit, before=under_way(task)), under_way(steered))
        return steered

    def happened(
        self, task_id: str, event: happenings.Said | happenings.Connected | happenings.Tick
    ) -> bool:
        """Apply what happened to an assignment, or to the task; False if there is none such."""
        task = self._find(task_id)
        if task is None or (event.instance_id and event.instance_id not in task.assignments):
            return False
        self._step(task_id, [event])
        return True

    def describe(
        self,
        instances: Sequence[InstanceRow],
        hosts: Sequence[HostRow],
        brings: Brings | None = None,
    ) -> None:
        """Take over what agents told of themselves, and nothing of another host's instances.

        `brings` is asked if an instance becomes the host's, or another service's.
        """
        before, after = {}, {}
        for host in hosts:
            self._hosts[host.host_id] = described(self._host(host.host_id), host)
        for row in instances:
            old = self._instance(row.instance_id)
            if old is not None and old.host_id != row.host_id:
                continue
            if old is None or old.service != row.service:
                before[row.instance_id] = old.service if old else ""
                after[row.instance_id] = row.service
            if old is not None:
                same = replace(old, updated_at=row.updated_at) == row
                looks_same = (old.status, old.version, old.reason) == (
                    row.status,
                    row.version,
                    row.reason,
                )
                if same:
                    continue
                if looks_same:
                    self._instances[row.instance_id] = replace(row, updated_at=old.updated_at)
                    continue
            self._instances[row.instance_id] = row
            self._event("instance", instance_event(row))
        if after and brings is not None:
            self.audit.extend(brings(before, after))

    def told(self, entries: Sequence[PastEntry]) -> None:
        """Take over what ended on a host, as its own past has it, in its order.

        A task that is known here is told so as by a report; of the others the history is all
        that can be made whole again.
        """
        for entry in entries:
            said = happenings.Said(entry.instance_id, entry.attempt, entry.ended)
            if not self.happened(entry.task_id, said):
                self.remember(row_of_entry(entry, self._now.wall))

    def knows_past(self, host_id: str, number: int) -> None:
        """The host's past is known up to `number` with this batch."""
        host = self._host(host_id)
        if host is not None and host.past_number != number:
            self._hosts[host_id] = replace(host, past_number=number)

    def remember(self, row: HistoryRow) -> None:
        """Keep a row of an assignment whose task is not known here."""
        self._history.append(row)

    def send(self, command: Command) -> None:
        """Send a command that no task stands behind."""
        self.effects.append(("", happenings.Send(command.instance_id, command)))

    # ---- who speaks for what -----------------------------------------------

    def decide(
        self, host_id: str, decide: Callable[[HostRow | None], HostRow], audit: AuditRow
    ) -> HostRow:
        """Take over what an operator, or the host's way in, made of its row."""
        known = self._host(host_id)
        row = self._hosts[host_id] = decide(known)
        before = said(in_brief(known)) if known else {}
        self._record(replace(audit, before=before), {**in_brief(row), **audit.after})
        return row

    def release(self, instance_id: str, audit: AuditRow) -> InstanceRow:
        """Let an instance belong to no host; the next one that brings it owns it."""
        row = self._instance(instance_id)
        if row is None:
            raise unknown_instances([instance_id], "instance_id")
        if holder := self.holds.get(instance_id):
            raise held_instance(instance_id, holder)
        self._instances.pop(instance_id, None)
        self.released.add(instance_id)
        self._event("instance", {**instance_event(row), "released": True})
        self._record(replace(audit, before={"host_id": row.host_id}), {"host_id": ""})
        return row

    def change_pins(
        self, service: str, change: Callable[[PinDraft], PinRow], audit: AuditRow
    ) -> PinRow:
        """Pin or unpin a version of a service."""
        before = self.pins.versions(service)
        row = change(self.pins)
        after = self.pins.versions(service)
        self._record(replace(audit, before={"pinned": before}), {"pinned": after})
        return row

    # ---- inside ------------------------------------------------------------

    def _instance(self, instance_id: str) -> InstanceRow | None:
        saved = None if instance_id in self.released else self._fleet.instance(instance_id)
        return self._instances.get(instance_id) or saved

    def _host(self, host_id: str) -> HostRow | None:
        return self._hosts.get(host_id) or self._fleet.host(host_id)

    def _find(self, task_id: str) -> Task | None:
        return self._tasks.get(task_id) or self._saved.get(task_id)

    def _as_saved(self, task: Task) -> Task:
        saved = self._saved.get(task.task_id)
        return replace(task, revision=saved.revision + 1 if saved is not None else 1)

    def _connected(self, instance_ids: Mapping[str, object]) -> frozenset[str]:
        return frozenset(name for name in instance_ids if self._sender.connected(name))

    def _take_instances(self, task: Task) -> Task:
        held = {name: self.holds[name] for name in task.assignments if name in self.holds}
        if held and not task.force:
            raise held_conflict(held)
        parts = dict(task.assignments)
        for name, holder in held.items():
            blocked_by = self._take_over(name, holder, task.task_id)
            parts[name] = replace(parts[name], blocked_by=blocked_by)
        self.holds.update(dict.fromkeys(parts, task.task_id))
        return replace(task, assignments=parts)

    def _take_over(self, instance_id: str, holder: str, taker: str) -> str:
        """Cancel the holder's assignment; return the task that still has to leave, or ""."""
        before = self._find(holder)
        assert before is not None
        older = before.assignments[instance_id].blocked_by
        event = happenings.CancelAsked(
            self._connected({instance_id: None}),
            only=[instance_id],
            why=f"taken over by {taker}",
        )
        self._step(holder, [event])
        if not self._tasks[holder].assignments[instance_id].phase.ended:
            return holder
        return older

    def _begin(self, task: Task) -> None:
        """Take a new task in, and let it begin; the one that it comes from tells of it."""
        self._tasks[task.task_id] = task
        self._created.add(task.task_id)
        if task.follows and (before := self._find(task.follows)) is not None:
            self._tasks[before.task_id] = led_to(before, task.task_id)
        self._step(task.task_id, [happenings.Begin()])
        for name, part in self._tasks[task.task_id].assignments.items():
            if not has_moved(task.assignments[name], part):
                self._enter(task.task_id, part)

    def _take_back(self, task_id: str, asked: happenings.TakeBack) -> None:
        """Bring instances back by a task of its own, but for those that another task has."""
        task = self._tasks[task_id]
        for name in asked.instances:
            if holder := self.holds.get(name):
                part = task.assignments[name]
                part = replace(part, reason=f"{part.reason}; not taken back: {holder} has it")
                task = replace(task, assignments={**task.assignments, name: part})
                self._parts[task_id, name] = part
        self._tasks[task_id] = task
        if free := tuple(name for name in asked.instances if name not in self.holds):
            new = way_back(task, free, asked.relation, f"rollback-{self._new_id()}", self._now.wall)
            self.holds.update(dict.fromkeys(free, new.task_id))
            self._begin(new)
            row = AuditRow(
                at=self._now.wall,
                proof="in_process",
                who="strategy",
                operation="rollback_deployment",
                object_id=task_id,
                parameters={"relation": asked.relation, "instances": list(free)},
            )
            self._record(row, accepted(self._tasks[new.task_id]))

    def _step(self, task_id: str, events: Sequence[happenings.Event]) -> None:
        task = self._find(task_id)
        assert task is not None
        done = rollout.step(task, events, self._now)
        if done.changed or done.task is not task:
            self._tasks[task_id] = done.task
        self.effects.extend(
            (task_id, one) for one in done.effects if not isinstance(one, happenings.TakeBack)
        )
        for told in assignment_events(done.task, done.changed, self._now, self._fleet):
            self._event("assignment", told)
        for part in done.changed:
            self._parts[task_id, part.instance_id] = part
            if has_moved(task.assignments[part.instance_id], part):
                self._enter(task_id, part)
        for part in done.ended:
            if task.kind is not TaskKind.PREFETCH:
                corrects = task.assignments[part.instance_id].phase.ended
                self._history.append(self._history_row(done.task, part, corrects=corrects))
            self._leave(done.task, part)
        for effect in done.effects:
            if isinstance(effect, happenings.TakeBack):
                self._take_back(task_id, effect)

    def _enter(self, task_id: str, part: Assignment) -> None:
        self._transitions.append((task_id, entered(part, self._now.wall)))

    def _leave(self, task: Task, part: Assignment) -> None:
        instance_id = part.instance_id
        holder = self.holds.get(instance_id)
        if holder == task.task_id:
            del self.holds[instance_id]
        elif holder is not None:
            waiting = self._find(holder)
            if waiting and waiting.assignments[instance_id].blocked_by == task.task_id:
                runs = task.target_of(part) if part.phase is Phase.COMPLETED else part.ran
                self._step(holder, [happenings.Unblocked(instance_id, runs)])

    def _history_row(self, task: Task, part: Assignment, *, corrects: bool) -> HistoryRow:
        return HistoryRow(
            instance_id=part.instance_id,
            service=task.service,
            version=task.target_of(part).version,
            action="deploy" if task.kind is TaskKind.DEPLOY else "rollback",
            task_id=task.task_id,
            timestamp=self._now.wall,
            status=_OUTCOMES[part.phase],
            reason=part.reason,
            corrects=corrects,
            regressed_at=part.since if part.regressed else None,
        )

    def _record(self, row: AuditRow, after: Mapping[str, Any]) -> None:
        self.audit.append(done(row, after))

    def _event(
        self, kind: Literal["task", "assignment", "instance"], data: Mapping[str, Any]
    ) -> None:
        self.events.append(EventRow(self._now.wall, kind, data))
