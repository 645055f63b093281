"""`AsyncClient`: the twelve documented functions over HTTPS, and what is added to them.

Each method is one request. Arguments are checked before anything is sent; every method
raises the exceptions of `protocol.errors`, `UnavailableError` where no answer came.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from coordinator.arguments import HostDecisionParams
from coordinator.client import arguments
from coordinator.client.arguments import segment, version_segment
from coordinator.client.discovery import find_coordinator
from coordinator.client.events import parse_events
from coordinator.client.settings import find_settings, need_token
from coordinator.client.transport import Transport
from protocol.access import (
    AuthorityStatus,
    CreatedToken,
    ForceParams,
    Host,
    HostList,
    ReleasedInstance,
    Token,
    TokenList,
    TokenParams,
)
from protocol.errors import UnavailableError
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
from protocol.params import parse_params
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
from protocol.steering import (
    RetryDeploymentParams,
    RetryRollbackParams,
    RollbackDeploymentParams,
)
from protocol.strategy import Strategy, StrategyList
from protocol.timeline import TaskTimeline


class AsyncClient:
    """A coordinator over HTTPS. Use it as an asynchronous context manager, or `close` it.

    `url` is `https://HOST:PORT`; `ca_file` is the coordinator's `ca.pem` (without it the
    system's authorities are trusted); `timeout` bounds each request, in seconds.
    `server_name` is verified instead of the URL's host.
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
        self._transport = Transport(url, token, ca_file, timeout=timeout, server_name=server_name)

    @classmethod
    def from_env(cls, *, timeout: float = 30.0) -> Self:
        """A client from `FERRYMAN_URL`, `FERRYMAN_TOKEN`, `FERRYMAN_CA_FILE`, then the file.

        The file is `~/.config/ferryman/config.toml`. Raises `InvalidRequestError` that says
        what to set if no token is found.
        """
        found = find_settings()
        return cls(found.url, need_token(found), found.ca_file, timeout=timeout)

    @classmethod
    async def discover(
        cls,
        token: str | None = None,
        ca_file: str | Path | None = None,
        timeout: float = 3.0,
    ) -> Self:
        """A client for the coordinator that announces itself on the LAN.

        Looks for `timeout` seconds. `token` and `ca_file` default as in `from_env`; a
        `ca_file` is needed, because whoever answers is believed only if its certificate
        verifies. Raises `UnavailableError` if none was found.
        """
        found = find_settings(token=token, ca_file=ca_file)
        url, server_name = await find_coordinator(found.ca_file, timeout)
        return cls(url, need_token(found), found.ca_file, server_name=server_name)

    @property
    def url(self) -> str:
        """The coordinator's URL."""
        return self._transport.url

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # ---- the twelve --------------------------------------------------------

    async def execute_deployment(self, params: DeployParams) -> DeployResult:
        """Start a deployment (reference 1.1)."""
        return await self._transport.ask("POST", "/v1/deployment", DeployResult, body=params)

    async def get_deployment_status(self, deploy_id: str) -> DeployStatus:
        """Tell the state of a deployment (1.2)."""
        path = f"/v1/deployment/{segment('deploy_id', deploy_id)}"
        return await self._transport.ask("GET", path, DeployStatus)

    async def cancel_deployment(self, deploy_id: str) -> DeployCancelResult:
        """Stop what has not been switched yet (1.3)."""
        path = f"/v1/deployment/{segment('deploy_id', deploy_id)}/cancel"
        return await self._transport.ask("POST", path, DeployCancelResult)

    async def get_service_instance_versions(
        self, service_name: str, include_stopped: bool = False, at: datetime | None = None
    ) -> ServiceVersions:
        """Tell what runs on every instance of a service, or (+) what ran `at` a past time (2.1)."""
        path = f"/v1/service/{segment('service_name', service_name)}/versions"
        query = {"include_stopped": arguments.flag("include_stopped", include_stopped)}
        if at is not None:
            query |= {"at": arguments.moment("at", at)}
        return await self._transport.ask("GET", path, ServiceVersions, query=query)

    async def get_service_instances(self, params: InstanceQueryParams) -> ServiceInstances:
        """Tell one page of a service's instances (2.2)."""
        path = f"/v1/service/{segment('service_name', params.service_name)}/instances"
        query = arguments.page(params.limit, params.offset)
        query |= arguments.filters(status=params.status, version=params.version)
        return await self._transport.ask("GET", path, ServiceInstances, query=query)

    async def get_instance_version_history(
        self, instance_id: str, limit: int = 50, offset: int = 0
    ) -> VersionHistory:
        """Tell what ended on one instance, newest first (2.3)."""
        path = f"/v1/instance/{segment('instance_id', instance_id)}/version-history"
        query = arguments.page(limit, offset)
        return await self._transport.ask("GET", path, VersionHistory, query=query)

    async def rollback_instance(self, params: InstanceRollbackParams) -> RollbackResult:
        """Take one instance back to a version (3.1)."""
        path = f"/v1/instance/{segment('instance_id', params.instance_id)}/rollback"
        return await self._transport.ask("POST", path, RollbackResult, body=params)

    async def rollback_batch(self, params: BatchRollbackParams) -> BatchRollbackResult:
        """Take several instances back to a version (3.2)."""
        return await self._transport.ask("POST", "/v1/rollback", BatchRollbackResult, body=params)

    async def get_rollback_status(self, rollback_id: str) -> RollbackStatus:
        """Tell the state of a rollback (3.3)."""
        path = f"/v1/rollback/{segment('rollback_id', rollback_id)}"
        return await self._transport.ask("GET", path, RollbackStatus)

    async def cancel_rollback(self, rollback_id: str) -> RollbackCancelResult:
        """Stop what has not been switched back yet (3.4)."""
        path = f"/v1/rollback/{segment('rollback_id', rollback_id)}/cancel"
        return await self._transport.ask("POST", path, RollbackCancelResult)

    async def get_system_health(self) -> SystemHealth:
        """Tell whether the coordinator works (4.1)."""
        return await self._transport.ask("GET", "/v1/system/health", SystemHealth)

    async def get_system_stats(self, period: str = "24h") -> SystemStats:
        """Count tasks created in the period, and instances now (4.2)."""
        query = {"period": arguments.period(period)}
        return await self._transport.ask("GET", "/v1/system/stats", SystemStats, query=query)

    # ---- (+) plans, timelines, lists, tokens, events -----------------------

    async def get_deployment_timeline(self, deploy_id: str) -> TaskTimeline:
        """Every step of every assignment of a deployment, and how long each phase took."""
        path = f"/v1/deployment/{segment('deploy_id', deploy_id)}/timeline"
        return await self._transport.ask("GET", path, TaskTimeline)

    async def get_rollback_timeline(self, rollback_id: str) -> TaskTimeline:
        """Every step of every assignment of a rollback, and how long each phase took."""
        path = f"/v1/rollback/{segment('rollback_id', rollback_id)}/timeline"
        return await self._transport.ask("GET", path, TaskTimeline)

    # ---- (+) steering ------------------------------------------------------

    async def pause_deployment(self, deploy_id: str) -> DeployStatus:
        """Begin nothing new; a paused one stays so."""
        path = f"/v1/deployment/{segment('deploy_id', deploy_id)}/pause"
        return await self._transport.ask("POST", path, DeployStatus)

    async def resume_deployment(self, deploy_id: str) -> DeployStatus:
        """Go on where it was paused."""
        path = f"/v1/deployment/{segment('deploy_id', deploy_id)}/resume"
        return await self._transport.ask("POST", path, DeployStatus)

    async def promote_deployment(self, deploy_id: str) -> DeployStatus:
        """Let the others follow the canary; `ConflictError` until it has ended and baked."""
        path = f"/v1/deployment/{segment('deploy_id', deploy_id)}/promote"
        return await self._transport.ask("POST", path, DeployStatus)

    async def retry_deployment(
        self, deploy_id: str, new_id: str | None = None, *, force: bool = False
    ) -> DeployResult:
        """Deploy again to exactly the instances on which this has failed or was cancelled.

        With `force` also where no way back to what runs would be left.
        """
        path = f"/v1/deployment/{segment('deploy_id', deploy_id)}/retry"
        asked = {"deploy_id": deploy_id, "new_id": new_id, "force": force}
        params = parse_params(RetryDeploymentParams, asked)
        return await self._transport.ask("POST", path, DeployResult, body=params)

    async def rollback_deployment(
        self,
        deploy_id: str,
        *,
        force: bool = False,
        timeout: int | None = None,
        strategy: Strategy | None = None,
    ) -> BatchRollbackResult:
        """Take each instance that this has switched back to what it ran before."""
        path = f"/v1/deployment/{segment('deploy_id', deploy_id)}/rollback"
        asked = {"deploy_id": deploy_id, "force": force, "timeout": timeout, "strategy": strategy}
        params = parse_params(RollbackDeploymentParams, asked)
        return await self._transport.ask("POST", path, BatchRollbackResult, body=params)

    async def pause_rollback(self, rollback_id: str) -> RollbackStatus:
        """As `pause_deployment`."""
        path = f"/v1/rollback/{segment('rollback_id', rollback_id)}/pause"
        return await self._transport.ask("POST", path, RollbackStatus)

    async def resume_rollback(self, rollback_id: str) -> RollbackStatus:
        """As `resume_deployment`."""
        path = f"/v1/rollback/{segment('rollback_id', rollback_id)}/resume"
        return await self._transport.ask("POST", path, RollbackStatus)

    async def promote_rollback(self, rollback_id: str) -> RollbackStatus:
        """As `promote_deployment`."""
        path = f"/v1/rollback/{segment('rollback_id', rollback_id)}/promote"
        return await self._transport.ask("POST", path, RollbackStatus)

    async def retry_rollback(
        self, rollback_id: str, new_id: str | None = None
    ) -> BatchRollbackResult:
        """As `retry_deployment`: each instance to the version that was meant for it."""
        path = f"/v1/rollback/{segment('rollback_id', rollback_id)}/retry"
        asked = {"rollback_id": rollback_id, "new_id": new_id}
        params = parse_params(RetryRollbackParams, asked)
        return await self._transport.ask("POST", path, BatchRollbackResult, body=params)

    # ---- (+) lists, tokens, events -----------------------------------------

    async def plan_deployment(self, params: DeployParams) -> DeploymentPlan:
        """What a deployment would do; nothing is changed. Its id may be given as `plan`."""
        path = "/v1/deployment/plan"
        return await self._transport.ask("POST", path, DeploymentPlan, body=params)

    async def list_deployments(
        self, *, service: str = "", status: str = "", limit: int = 100, offset: int = 0
    ) -> DeploymentList:
        """One page of deployments, newest first; `status` is one of the documented states."""
        query = arguments.page(limit, offset) | arguments.filters(service=service, status=status)
        return await self._transport.ask("GET", "/v1/deployment", DeploymentList, query=query)

    async def list_rollbacks(
        self, *, service: str = "", status: str = "", limit: int = 100, offset: int = 0
    ) -> RollbackList:
        """One page of rollbacks, newest first; `status` is one of the documented states."""
        query = arguments.page(limit, offset) | arguments.filters(service=service, status=status)
        return await self._transport.ask("GET", "/v1/rollback", RollbackList, query=query)

    async def list_services(
        self, *, version: str = "", limit: int = 100, offset: int = 0
    ) -> ServiceList:
        """One page of services, the latest changed first; with `version` those that run it."""
        query = arguments.page(limit, offset) | arguments.filters(version=version)
        return await self._transport.ask("GET", "/v1/service", ServiceList, query=query)

    async def get_rollback_readiness(
        self, service_name: str, version: str = ""
    ) -> RollbackReadiness:
        """For every instance, whether and from where it could go back to a version.

        Without `version` that is, for each, the last other one that was healthy there.
        """
        path = f"/v1/service/{segment('service_name', service_name)}/rollback-readiness"
        query = arguments.filters(version=version)
        return await self._transport.ask("GET", path, RollbackReadiness, query=query)

    async def list_strategies(self) -> StrategyList:
        """The strategies of the coordinator's configuration, and the services' defaults."""
        return await self._transport.ask("GET", "/v1/strategy", StrategyList)

    async def list_hosts(
        self,
        *,
        service: str = "",
        connected: bool | None = None,
        state: str = "",
        limit: int = 100,
        offset: int = 0,
    ) -> HostList:
        """One page of hosts, newest first; those of `service`, (not) connected, in this `state`."""
        query = arguments.page(limit, offset) | arguments.filters(service=service, state=state)
        if connected is not None:
            query |= {"connected": arguments.flag("connected", connected)}
        return await self._transport.ask("GET", "/v1/host", HostList, query=query)

    async def approve_host(self, host_id: str, fingerprint: str | None = None) -> Host:
        """Let in the key that asks to be this host; `fingerprint` says which if several do."""
        path = f"/v1/host/{segment('host_id', host_id)}/approve"
        params = HostDecisionParams(host_id=host_id, fingerprint=fingerprint)
        return await self._transport.ask("POST", path, Host, body=params)

    async def reject_host(self, host_id: str, fingerprint: str | None = None) -> Host:
        """Refuse the key that asks to be this host; it may be approved later."""
        path = f"/v1/host/{segment('host_id', host_id)}/reject"
        params = HostDecisionParams(host_id=host_id, fingerprint=fingerprint)
        return await self._transport.ask("POST", path, Host, body=params)

    async def revoke_host(self, host_id: str) -> Host:
        """Cut a host off at once, and refuse all certificates that it ever got."""
        path = f"/v1/host/{segment('host_id', host_id)}/revoke"
        return await self._transport.ask("POST", path, Host)

    async def release_instance(self, instance_id: str) -> ReleasedInstance:
        """Let an instance belong to no host: the next one that brings it owns it."""
        path = f"/v1/instance/{segment('instance_id', instance_id)}/release"
        return await self._transport.ask("POST", path, ReleasedInstance)

    async def prefetch(self, params: PrefetchParams) -> PrefetchResult:
        """Bring a release to the hosts' disks, so that its deployment is only the switch."""
        return await self._transport.ask("POST", "/v1/prefetch", PrefetchResult, body=params)

    async def get_prefetch_status(self, prefetch_id: str) -> PrefetchStatus:
        """Tell the state of a prefetch."""
        path = f"/v1/prefetch/{segment('prefetch_id', prefetch_id)}"
        return await self._transport.ask("GET", path, PrefetchStatus)

    async def cancel_prefetch(self, prefetch_id: str) -> PrefetchCancelResult:
        """Stop what is not on disk yet; `ConflictError` if it has ended."""
        path = f"/v1/prefetch/{segment('prefetch_id', prefetch_id)}/cancel"
        return await self._transport.ask("POST", path, PrefetchCancelResult)

    async def list_prefetches(
        self, *, service: str = "", status: str = "", limit: int = 100, offset: int = 0
    ) -> PrefetchList:
        """One page of prefetches, newest first; `status` is one of the documented states."""
        query = arguments.page(limit, offset) | arguments.filters(service=service, status=status)
        return await self._transport.ask("GET", "/v1/prefetch", PrefetchList, query=query)

    async def pin_release(self, service: str, version: str) -> Pin:
        """Keep a version of a service on its hosts' disks whatever `keep_releases` says."""
        return await self._transport.ask("POST", _pin_path(service, version, "pin"), Pin)

    async def unpin_release(self, service: str, version: str) -> Pin:
        """Let a version go: the hosts' next clean-up may remove it."""
        return await self._transport.ask("POST", _pin_path(service, version, "unpin"), Pin)

    async def list_pins(self, service: str = "") -> PinList:
        """Pinned versions, newest first, each with how many instances have it on disk."""
        query = arguments.filters(service=service)
        return await self._transport.ask("GET", "/v1/pin", PinList, query=query)

    async def create_token(self, params: TokenParams) -> CreatedToken:
        """Make an access token; the answer holds its secret for the only time."""
        return await self._transport.ask("POST", "/v1/token", CreatedToken, body=params)

    async def list_tokens(self) -> TokenList:
        """All tokens, without their secrets."""
        return await self._transport.ask("GET", "/v1/token", TokenList)

    async def revoke_token(self, token_id: str) -> Token:
        """Make a token useless from now on."""
        path = f"/v1/token/{segment('token_id', token_id)}/revoke"
        return await self._transport.ask("POST", path, Token)

    async def authority_status(self) -> AuthorityStatus:
        """The authority, the next one while there is one, and the hosts that are not ready."""
        return await self._transport.ask("GET", "/v1/authority", AuthorityStatus)

    async def begin_rotation(self) -> AuthorityStatus:
        """Make the next authority; `ConflictError` while a rotation is under way."""
        return await self._transport.ask("POST", "/v1/authority/begin", AuthorityStatus)

    async def switch_rotation(self, force: bool = False) -> AuthorityStatus:
        """Let the next authority sign; `ConflictError` names hosts that are not ready."""
        return await self._rotate("switch", force)

    async def finish_rotation(self, force: bool = False) -> AuthorityStatus:
        """Forget the authority of before; with `force`, hosts that need it must join again."""
        return await self._rotate("finish", force)

    async def _rotate(self, step: str, force: bool) -> AuthorityStatus:
        params = parse_params(ForceParams, {"force": force})
        path = f"/v1/authority/{step}"
        return await self._transport.ask("POST", path, AuthorityStatus, body=params)

    async def abort_rotation(self) -> AuthorityStatus:
        """Forget the next authority; `ConflictError` unless it is before the switch."""
        return await self._transport.ask("POST", "/v1/authority/abort", AuthorityStatus)

    async def list_audit(
        self, *, since: datetime | None = None, limit: int = 100, offset: int = 0
    ) -> AuditList:
        """One page of what was asked and refused, newest first; `since` needs a time zone."""
        query = arguments.page(limit, offset)
        if since is not None:
            query |= {"since": arguments.moment("since", since)}
        return await self._transport.ask("GET", "/v1/audit", AuditList, query=query)

    async def verify_audit(self, expect: str = "") -> AuditVerdict:
        """Look at every row of the audit trail; `expect` is a hash that was noted before.

        This may take longer than other requests, at most ten minutes.
        """
        query = arguments.filters(expect=expect)
        return await self._transport.ask(
            "GET", "/v1/audit/verify", AuditVerdict, query=query, patience=600.0
        )

    async def events(self, after: int | None = None) -> AsyncIterator[Event]:
        """Yield changes as they happen; with `after`, first those with a greater number.

        Ends only by an exception: `UnavailableError` when the stream breaks off; ask again
        with `after` set to the last event's `seq` and nothing is lost.
        """
        headers = {"Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = arguments.sequence("after", after)
        async for event in parse_events(self._transport.lines("/v1/events", headers)):
            yield event
        raise UnavailableError(f"{self.url}: the event stream ended; ask again with `after`")


def _pin_path(service: str, version: str, what: str) -> str:
    return f"/v1/service/{segment('service', service)}/version/{version_segment(version)}/{what}"
