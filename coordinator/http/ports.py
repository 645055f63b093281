"""What the HTTP door asks of the service behind it.

The twelve documented functions, the lists, the tokens, the events, and what agents
need to join. All raise the exceptions of `protocol.errors`. Nothing here knows HTTP.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Protocol, Self

from coordinator.caller import Caller
from coordinator.ports import TokenRow
from protocol.access import (
    AuthorityStatus,
    CreatedToken,
    Host,
    HostList,
    JoinAnswer,
    ReleasedInstance,
    Token,
    TokenList,
    TokenParams,
)
from protocol.api import CoordinatorAPI
from protocol.errors import FerrymanError
from protocol.events import Event
from protocol.evidence import AuditList, AuditVerdict
from protocol.lists import DeploymentList, RollbackList, ServiceList
from protocol.models import (
    BatchRollbackResult,
    DeployParams,
    DeployResult,
    DeployStatus,
    RollbackStatus,
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


class Doors(CoordinatorAPI, Protocol):
    """The facade that the routes serve."""

    async def get_deployment_timeline(self, deploy_id: str) -> TaskTimeline:
        """Tell every step of a deployment's assignments, and how long each phase took."""
        ...

    async def get_rollback_timeline(self, rollback_id: str) -> TaskTimeline:
        """Tell every step of a rollback's assignments, and how long each phase took."""
        ...

    async def pause_deployment(self, deploy_id: str) -> DeployStatus:
        """Begin nothing new."""
        ...

    async def resume_deployment(self, deploy_id: str) -> DeployStatus:
        """Go on where it was paused."""
        ...

    async def promote_deployment(self, deploy_id: str) -> DeployStatus:
        """Let the others follow the canary."""
        ...

    async def retry_deployment(
        self, deploy_id: str, new_id: str | None = None, *, force: bool = False
    ) -> DeployResult:
        """Deploy again to the instances on which this has failed or was cancelled."""
        ...

    async def rollback_deployment(
        self,
        deploy_id: str,
        *,
        force: bool = False,
        timeout: int | None = None,
        strategy: Strategy | None = None,
    ) -> BatchRollbackResult:
        """Take what this deployment has switched back to what ran before."""
        ...

    async def pause_rollback(self, rollback_id: str) -> RollbackStatus:
        """Begin nothing new."""
        ...

    async def resume_rollback(self, rollback_id: str) -> RollbackStatus:
        """Go on where it was paused."""
        ...

    async def promote_rollback(self, rollback_id: str) -> RollbackStatus:
        """Let the others follow the canary."""
        ...

    async def retry_rollback(
        self, rollback_id: str, new_id: str | None = None
    ) -> BatchRollbackResult:
        """Roll back again where this has failed or was cancelled."""
        ...

    async def plan_deployment(self, params: DeployParams) -> DeploymentPlan:
        """Tell what a deployment would do; nothing is changed."""
        ...

    async def list_deployments(
        self, *, service: str = "", status: str = "", limit: int = 100, offset: int = 0
    ) -> DeploymentList:
        """Tell one page of deployments, newest first; empty filters match everything."""
        ...

    async def list_rollbacks(
        self, *, service: str = "", status: str = "", limit: int = 100, offset: int = 0
    ) -> RollbackList:
        """Tell one page of rollbacks, newest first; empty filters match everything."""
        ...

    async def list_services(
        self, *, version: str = "", limit: int = 100, offset: int = 0
    ) -> ServiceList:
        """Tell one page of services, the latest changed first; an empty filter matches all."""
        ...

    async def get_rollback_readiness(
        self, service_name: str, version: str = ""
    ) -> RollbackReadiness:
        """Tell for every instance whether and from where it could go back."""
        ...

    async def list_strategies(self) -> StrategyList:
        """Tell the strategies of the configuration, and the services' defaults."""
        ...

    async def list_hosts(
        self,
        *,
        service: str = "",
        connected: bool | None = None,
        state: str = "",
        limit: int = 100,
        offset: int = 0,
    ) -> HostList:
        """Tell one page of hosts, newest first; empty filters match everything."""
        ...

    async def prefetch(self, params: PrefetchParams) -> PrefetchResult:
        """Bring a release to the hosts' disks."""
        ...

    async def get_prefetch_status(self, prefetch_id: str) -> PrefetchStatus:
        """Tell the state of a prefetch."""
        ...

    async def cancel_prefetch(self, prefetch_id: str) -> PrefetchCancelResult:
        """Stop what is not on disk yet."""
        ...

    async def list_prefetches(
        self, *, service: str = "", status: str = "", limit: int = 100, offset: int = 0
    ) -> PrefetchList:
        """Tell one page of prefetches, newest first; empty filters match everything."""
        ...

    async def pin_release(self, service: str, version: str) -> Pin:
        """Keep a version of a service on its hosts' disks."""
        ...

    async def unpin_release(self, service: str, version: str) -> Pin:
        """Let a version go the way of all releases."""
        ...

    async def list_pins(self, service: str = "") -> PinList:
        """Tell the pinned versions, newest first; an empty filter matches everything."""
        ...

    async def create_token(self, params: TokenParams) -> CreatedToken:
        """Make a token; its secret is in this answer and nowhere else."""
        ...

    async def list_tokens(self) -> TokenList:
        """Tell all tokens, newest first, without secrets."""
        ...

    async def revoke_token(self, token_id: str) -> Token:
        """End a token at once; revoking it again changes nothing."""
        ...

    def on_behalf_of(self, caller: Caller) -> Self:
        """The same facade as it is for a caller: it shows and does what is theirs alone."""
        ...

    async def token_ended(self, caller: Caller) -> None:
        """Return when the caller's token has expired or was revoked here."""
        ...

    def events(self, after: int | None) -> AsyncIterator[Event]:
        """Yield events with a number greater than `after`, then live ones; None: only live ones."""
        ...

    async def authenticate(self, token_text: str) -> TokenRow:
        """Return the valid token that this secret is; else raise `UnauthenticatedError`."""
        ...

    async def enroll(
        self, token_text: str, host_id: str, csr: str, address: str
    ) -> tuple[str, str]:
        """Sign an agent's request; return its certificate and the authority's, both PEM."""
        ...

    async def ask_to_join(self, host_id: str, csr: str, address: str) -> JoinAnswer:
        """Answer an agent that has no token: what was decided of its key."""
        ...

    async def approve_host(self, host_id: str, fingerprint: str | None = None) -> Host:
        """Let in the key that asks to be this host."""
        ...

    async def reject_host(self, host_id: str, fingerprint: str | None = None) -> Host:
        """Refuse the key that asks to be this host."""
        ...

    async def revoke_host(self, host_id: str) -> Host:
        """Cut a host off at once, and refuse all certificates that it ever got."""
        ...

    async def release_instance(self, instance_id: str) -> ReleasedInstance:
        """Let an instance belong to no host: the next one that brings it owns it."""
        ...

    def authority(self) -> str:
        """Return the certificate of the coordinator's authority, PEM."""
        ...

    def older_authority(self) -> str:
        """Return the authority that join tokens from before a switch name; "" if there is none."""
        ...

    async def authority_status(self) -> AuthorityStatus:
        """Tell the authority, the next one while there is one, and who is ready for it."""
        ...

    async def begin_rotation(self) -> AuthorityStatus:
        """Make the next authority, and let every host believe it, too."""
        ...

    async def switch_rotation(self, force: bool = False) -> AuthorityStatus:
        """Let the next authority sign from now on."""
        ...

    async def finish_rotation(self, force: bool = False) -> AuthorityStatus:
        """Forget the authority of before the switch."""
        ...

    async def abort_rotation(self) -> AuthorityStatus:
        """Forget the next authority."""
        ...

    async def list_audit(
        self, *, since: datetime | None = None, limit: int = 100, offset: int = 0
    ) -> AuditList:
        """Tell one page of the audit trail, newest first."""
        ...

    async def verify_audit(self, expect: str = "") -> AuditVerdict:
        """Tell whether the audit trail is whole."""
        ...

    def refused(self, caller: Caller, operation: str, object_id: str, error: FerrymanError) -> None:
        """The door refused the caller, before anything was asked here."""
        ...

    def ready(self) -> bool:
        """Tell whether requests can be served now."""
        ...
