"""`Client`: the same functions as `AsyncClient`, blocking, for plain scripts.

It runs an `AsyncClient` on an event loop of its own; every method is one call of its
namesake. Use it from one thread, outside of a running event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from coordinator.client.asynchronous import AsyncClient
from protocol.access import (
    AuthorityStatus,
    CreatedToken,
    Host,
    HostList,
    ReleasedInstance,
    Token,
    TokenList,
    TokenParams,
)
from protocol.events import Event
from protocol.evidence import AuditList, AuditVerdict
from protocol.lists import DeploymentList, RollbackList, ServiceList
from protocol.models import (
    BatchRollbackParams,
    BatchRollbackResult,
    DeployCancelResult,
    DeployParams,
    DeployResult,
    DeployStatus,
    InstanceQueryParams,
    InstanceRollbackParams,
    RollbackCancelResult,
    RollbackResult,
    RollbackStatus,
    ServiceInstances,
    ServiceVersions,
    SystemHealth,
    SystemStats,
    VersionHistory,
)
from protocol.plan import DeploymentPlan
from protocol.readiness import RollbackReadiness
from protocol.releases import (
    Pin,
    PinList,
    PrefetchCancelResult,
    PrefetchList,
    PrefetchParams,
    PrefetchResult,
    PrefetchStatus,
)
from protocol.strategy import Strategy, StrategyList
from protocol.timeline import TaskTimeline

T = TypeVar("T")


class Client:
    """A coordinator over HTTPS, blocking. Use it as a context manager, or `close` it.

    The arguments are those of `AsyncClient`.
    """

    def __init__(
        self,
        url: str,
        token: str,
        ca_file: str | Path | None = None,
        *,
        timeout: float = 30.0,
        server_name: str | None = None,
    ) -> None:
        self._adopt(AsyncClient(url, token, ca_file, timeout=timeout, server_name=server_name))

    @classmethod
    def from_env(cls, *, timeout: float = 30.0) -> Self:
        """As `AsyncClient.from_env`."""
        return cls._around(AsyncClient.from_env(timeout=timeout))

    @classmethod
    def discover(
        cls,
        token: str | None = None,
        ca_file: str | Path | None = None,
        timeout: float = 3.0,
    ) -> Self:
        """As `AsyncClient.discover`."""
        _refuse_running_loop()
        return cls._around(asyncio.run(AsyncClient.discover(token, ca_file, timeout)))

    @classmethod
    def _around(cls, client: AsyncClient) -> Self:
        made = cls.__new__(cls)
        made._adopt(client)
        return made

    def _adopt(self, client: AsyncClient) -> None:
        self._client = client
        self._runner = asyncio.Runner()
        self._closed = False

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        try:
            _refuse_running_loop()
        except RuntimeError:
            call.close()
            raise
        return self._runner.run(call)

    @property
    def url(self) -> str:
        """The coordinator's URL."""
        return self._client.url

    def close(self) -> None:
        """Close the connections and the loop."""
        if not self._closed:
            self._run(self._client.close())
            self._runner.close()
            self._closed = True

    def __enter__(self) -> Self:
        _refuse_running_loop()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # ---- the twelve --------------------------------------------------------

    def execute_deployment(self, params: DeployParams) -> DeployResult:
        """Start a deployment (reference 1.1)."""
        return self._run(self._client.execute_deployment(params))

    def get_deployment_status(self, deploy_id: str) -> DeployStatus:
        """Tell the state of a deployment (1.2)."""
        return self._run(self._client.get_deployment_status(deploy_id))

    def cancel_deployment(self, deploy_id: str) -> DeployCancelResult:
        """Stop what has not been switched yet (1.3)."""
        return self._run(self._client.cancel_deployment(deploy_id))

    def get_service_instance_versions(
        self, service_name: str, include_stopped: bool = False, at: datetime | None = None
    ) -> ServiceVersions:
        """Tell what runs on every instance of a service, or (+) what ran `at` a past time (2.1)."""
        call = self._client.get_service_instance_versions(service_name, include_stopped, at)
        return self._run(call)

    def get_service_instances(self, params: InstanceQueryParams) -> ServiceInstances:
        """Tell one page of a service's instances (2.2)."""
        return self._run(self._client.get_service_instances(params))

    def get_instance_version_history(
        self, instance_id: str, limit: int = 50, offset: int = 0
    ) -> VersionHistory:
        """Tell what ended on one instance, newest first (2.3)."""
        return self._run(self._client.get_instance_version_history(instance_id, limit, offset))

    def rollback_instance(self, params: InstanceRollbackParams) -> RollbackResult:
        """Take one instance back to a version (3.1)."""
        return self._run(self._client.rollback_instance(params))

    def rollback_batch(self, params: BatchRollbackParams) -> BatchRollbackResult:
        """Take several instances back to a version (3.2)."""
        return self._run(self._client.rollback_batch(params))

    def get_rollback_status(self, rollback_id: str) -> RollbackStatus:
        """Tell the state of a rollback (3.3)."""
        return self._run(self._client.get_rollback_status(rollback_id))

    def cancel_rollback(self, rollback_id: str) -> RollbackCancelResult:
        """Stop what has not been switched back yet (3.4)."""
        return self._run(self._client.cancel_rollback(rollback_id))

    def get_system_health(self) -> SystemHealth:
        """Tell whether the coordinator works (4.1)."""
        return self._run(self._client.get_system_health())

    def get_system_stats(self, period: str = "24h") -> SystemStats:
        """Count tasks created in the period, and instances now (4.2)."""
        return self._run(self._client.get_system_stats(period))

    # ---- (+) plans, timelines, lists, tokens, events -----------------------

    def get_deployment_timeline(self, deploy_id: str) -> TaskTimeline:
        """Every step of every assignment of a deployment, and how long each phase took."""
        return self._run(self._client.get_deployment_timeline(deploy_id))

    def get_rollback_timeline(self, rollback_id: str) -> TaskTimeline:
        """Every step of every assignment of a rollback, and how long each phase took."""
        return self._run(self._client.get_rollback_timeline(rollback_id))

    # ---- (+) steering ------------------------------------------------------

    def pause_deployment(self, deploy_id: str) -> DeployStatus:
        """Begin nothing new; a paused one stays so."""
        return self._run(self._client.pause_deployment(deploy_id))

    def resume_deployment(self, deploy_id: str) -> DeployStatus:
        """Go on where it was paused."""
        return self._run(self._client.resume_deployment(deploy_id))

    def promote_deployment(self, deploy_id: str) -> DeployStatus:
        """Let the others follow the canary; `ConflictError` until it has ended and baked."""
        return self._run(self._client.promote_deployment(deploy_id))

    def retry_deployment(
        self, deploy_id: str, new_id: str | None = None, *, force: bool = False
    ) -> DeployResult:
        """Deploy again to exactly the instances on which this has failed or was cancelled.

        With `force` also where no way back to what runs would be left.
        """
        return self._run(self._client.retry_deployment(deploy_id, new_id, force=force))

    def rollback_deployment(
        self,
        deploy_id: str,
        *,
        force: bool = False,
        timeout: int | None = None,
        strategy: Strategy | None = None,
    ) -> BatchRollbackResult:
        """Take each instance that this has switched back to what it ran before."""
        return self._run(
            self._client.rollback_deployment(
                deploy_id, force=force, timeout=timeout, strategy=strategy
            )
        )

    def pause_rollback(self, rollback_id: str) -> RollbackStatus:
        """As `pause_deployment`."""
        return self._run(self._client.pause_rollback(rollback_id))

    def resume_rollback(self, rollback_id: str) -> RollbackStatus:
        """As `resume_deployment`."""
        return self._run(self._client.resume_rollback(rollback_id))

    def promote_rollback(self, rollback_id: str) -> RollbackStatus:
        """As `promote_deployment`."""
        return self._run(self._client.promote_rollback(rollback_id))

    def retry_rollback(self, rollback_id: str, new_id: str | None = None) -> BatchRollbackResult:
        """As `retry_deployment`: each instance to the version that was meant for it."""
        return self._run(self._client.retry_rollback(rollback_id, new_id))

    # ---- (+) lists, tokens, events -----------------------------------------

    def plan_deployment(self, params: DeployParams) -> DeploymentPlan:
        """As `AsyncClient.plan_deployment`."""
        return self._run(self._client.plan_deployment(params))

    def list_deployments(
        self, *, service: str = "", status: str = "", limit: int = 100, offset: int = 0
    ) -> DeploymentList:
        """One page of deployments, newest first; `status` is one of the documented states."""
        return self._run(
            self._client.list_deployments(
                service=service, status=status, limit=limit, offset=offset
            )
        )

    def list_rollbacks(
        self, *, service: str = "", status: str = "", limit: int = 100, offset: int = 0
    ) -> RollbackList:
        """One page of rollbacks, newest first; `status` is one of the documented states."""
        return self._run(
            self._client.list_rollbacks(service=service, status=status, limit=limit, offset=offset)
        )

    def list_services(self, *, version: str = "", limit: int = 100, offset: int = 0) -> ServiceList:
        """One page of services, the latest changed first; with `version` those that run it."""
        return self._run(self._client.list_services(version=version, limit=limit, offset=offset))

    def get_rollback_readiness(self, service_name: str, version: str = "") -> RollbackReadiness:
        """For every instance, whether and from where it could go back to a version.

        Without `version` that is, for each, the last other one that was healthy there.
        """
        return self._run(self._client.get_rollback_readiness(service_name, version))

    def list_strategies(self) -> StrategyList:
        """The strategies of the coordinator's configuration, and the services' defaults."""
        return self._run(self._client.list_strategies())

    def list_hosts(
        self,
        *,
        service: str = "",
        connected: bool | None = None,
        state: str = "",
        limit: int = 100,
        offset: int = 0,
    ) -> HostList:
        """One page of hosts, newest first; those of `service`, (not) connected, in this `state`."""
        return self._run(
            self._client.list_hosts(
                service=service, connected=connected, state=state, limit=limit, offset=offset
            )
        )

    def approve_host(self, host_id: str, fingerprint: str | None = None) -> Host:
        """Let in the key that asks to be this host; `fingerprint` says which if several do."""
        return self._run(self._client.approve_host(host_id, fingerprint))

    def reject_host(self, host_id: str, fingerprint: str | None = None) -> Host:
        """Refuse the key that asks to be this host; it may be approved later."""
        return self._run(self._client.reject_host(host_id, fingerprint))

    def revoke_host(self, host_id: str) -> Host:
        """Cut a host off at once, and refuse all certificates that it ever got."""
        return self._run(self._client.revoke_host(host_id))

    def release_instance(self, instance_id: str) -> ReleasedInstance:
        """Let an instance belong to no host: the next one that brings it owns it."""
        return self._run(self._client.release_instance(instance_id))

    def prefetch(self, params: PrefetchParams) -> PrefetchResult:
        """Bring a release to the hosts' disks, so that its deployment is only the switch."""
        return self._run(self._client.prefetch(params))

    def get_prefetch_status(self, prefetch_id: str) -> PrefetchStatus:
        """Tell the state of a prefetch."""
        return self._run(self._client.get_prefetch_status(prefetch_id))

    def cancel_prefetch(self, prefetch_id: str) -> PrefetchCancelResult:
        """Stop what is not on disk yet; `ConflictError` if it has ended."""
        return self._run(self._client.cancel_prefetch(prefetch_id))

    def list_prefetches(
        self, *, service: str = "", status: str = "", limit: int = 100, offset: int = 0
    ) -> PrefetchList:
        """One page of prefetches, newest first; `status` is one of the documented states."""
        return self._run(
            self._client.list_prefetches(service=service, status=status, limit=limit, offset=offset)
        )

    def pin_release(self, service: str, version: str) -> Pin:
        """Keep a version of a service on its hosts' disks whatever `keep_releases` says."""
        return self._run(self._client.pin_release(service, version))

    def unpin_release(self, service: str, version: str) -> Pin:
        """Let a version go: the hosts' next clean-up may remove it."""
        return self._run(self._client.unpin_release(service, version))

    def list_pins(self, service: str = "") -> PinList:
        """Pinned versions, newest first, each with how many instances have it on disk."""
        return self._run(self._client.list_pins(service))

    def create_token(self, params: TokenParams) -> CreatedToken:
        """Make an access token; the answer holds its secret for the only time."""
        return self._run(self._client.create_token(params))

    def list_tokens(self) -> TokenList:
        """All tokens, without their secrets."""
        return self._run(self._client.list_tokens())

    def revoke_token(self, token_id: str) -> Token:
        """Make a token useless from now on."""
        return self._run(self._client.revoke_token(token_id))

    def authority_status(self) -> AuthorityStatus:
        """The authority, the next one while there is one, and the hosts that are not ready."""
        return self._run(self._client.authority_status())

    def begin_rotation(self) -> AuthorityStatus:
        """Make the next authority; `ConflictError` while a rotation is under way."""
        return self._run(self._client.begin_rotation())

    def switch_rotation(self, force: bool = False) -> AuthorityStatus:
        """Let the next authority sign; `ConflictError` names hosts that are not ready."""
        return self._run(self._client.switch_rotation(force))

    def finish_rotation(self, force: bool = False) -> AuthorityStatus:
        """Forget the authority of before; with `force`, hosts that need it must join again."""
        return self._run(self._client.finish_rotation(force))

    def abort_rotation(self) -> AuthorityStatus:
        """Forget the next authority; `ConflictError` unless it is before the switch."""
        return self._run(self._client.abort_rotation())

    def list_audit(
        self, *, since: datetime | None = None, limit: int = 100, offset: int = 0
    ) -> AuditList:
        """One page of what was asked and refused, newest first."""
        return self._run(self._client.list_audit(since=since, limit=limit, offset=offset))

    def verify_audit(self, expect: str = "") -> AuditVerdict:
        """Look at every row of the audit trail; `expect` is a hash that was noted before."""
        return self._run(self._client.verify_audit(expect))

    def events(self, after: int | None = None) -> Iterator[Event]:
        """Yield changes as they happen; as `AsyncClient.events`."""
        stream = self._client.events(after)
        try:
            while True:
                yield self._run(_next(stream))
        finally:
            if not self._closed:
                self._run(_end(stream))


def _refuse_running_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("Client blocks: inside a running event loop use AsyncClient")


async def _next(stream: AsyncIterator[Event]) -> Event:
    return await anext(stream)


async def _end(stream: AsyncIterator[Event]) -> None:
    if hasattr(stream, "aclose"):
        await stream.aclose()
