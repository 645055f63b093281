"""The table of routes (interface sections 2 and 4), from which the router and the OpenAPI
document are made. Which role each of them needs stands in `coordinator.permissions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from coordinator import arguments
from coordinator.http import params as http
from coordinator.http.authority_routes import AUTHORITY
from coordinator.http.host_routes import AGENTS, HOSTS
from coordinator.http.release_routes import RELEASES
from coordinator.http.route import Answer, Asked, Route
from coordinator.http.steering_routes import STEERING_DEPLOYMENTS, STEERING_ROLLBACKS
from protocol import access, lists, models
from protocol.errors import ConflictError, NotFoundError, UnavailableError
from protocol.events import Event
from protocol.evidence import AuditList, AuditListParams, AuditVerdict, AuditVerifyParams
from protocol.plan import DeploymentPlan
from protocol.readiness import RollbackReadiness
from protocol.strategy import StrategyList
from protocol.timeline import TaskTimeline

_SERVICE: Final[Mapping[str, str]] = {"service": "service_name"}


async def _alive(_: Asked) -> http.Alive:
    return http.Alive()


async def _ready(asked: Asked) -> http.Ready:
    if not asked.doors.ready():
        raise UnavailableError("the coordinator is starting, stopping or can't reach its database")
    return http.Ready()


DEPLOYMENTS: Final = (
    Route(
        method="POST",
        path="/v1/deployment",
        name="execute_deployment",
        section="1.1",
        summary="Start a deployment",
        success="The deployment as it was accepted; an equal one sent again gets the first answer",
        params=models.DeployParams,
        result=models.DeployResult,
        call=lambda asked: asked.doors.execute_deployment(asked.params),
        refuses=(NotFoundError, ConflictError),
    ),
    Route(
        method="POST",
        path="/v1/deployment/plan",
        name="plan_deployment",
        summary="Tell what a deployment would do, and do nothing",
        success="The plan: its id may be given to the deployment, which then holds to it",
        params=models.DeployParams,
        result=DeploymentPlan,
        call=lambda asked: asked.doors.plan_deployment(asked.params),
        reads=True,
        refuses=(NotFoundError,),
    ),
    Route(
        method="GET",
        path="/v1/deployment",
        name="list_deployments",
        summary="List deployments, newest first",
        success="One page of deployments",
        params=arguments.TaskListParams,
        result=lists.DeploymentList,
        call=lambda asked: asked.doors.list_deployments(**asked.params.model_dump()),
    ),
    Route(
        method="GET",
        path="/v1/deployment/{deploy_id}",
        name="get_deployment_status",
        section="1.2",
        summary="Tell the state of a deployment",
        success="The whole state of the deployment",
        params=http.DeployIdParams,
        result=models.DeployStatus,
        call=lambda asked: asked.doors.get_deployment_status(asked.params.deploy_id),
        refuses=(NotFoundError,),
    ),
    Route(
        method="GET",
        path="/v1/deployment/{deploy_id}/timeline",
        name="get_deployment_timeline",
        summary="Tell how long a deployment spent in which phase, on each instance",
        success="Every step of every assignment, up to now",
        params=http.DeployIdParams,
        result=TaskTimeline,
        call=lambda asked: asked.doors.get_deployment_timeline(asked.params.deploy_id),
        refuses=(NotFoundError,),
    ),
    Route(
        method="POST",
        path="/v1/deployment/{deploy_id}/cancel",
        name="cancel_deployment",
        section="1.3",
        summary="Stop what a deployment has not switched yet",
        success="The cancellation was taken; `in_progress` until all parts have ended",
        params=http.DeployIdParams,
        result=models.DeployCancelResult,
        call=lambda asked: asked.doors.cancel_deployment(asked.params.deploy_id),
        refuses=(NotFoundError, ConflictError),
    ),
)

VERSIONS: Final = (
    Route(
        method="GET",
        path="/v1/service/{service}/versions",
        name="get_service_instance_versions",
        section="2.1",
        summary="Tell what runs on every instance of a service",
        success="The versions that run, or ran, by instance and counted",
        params=arguments.ServiceVersionsParams,
        result=models.ServiceVersions,
        call=lambda asked: asked.doors.get_service_instance_versions(
            asked.params.service_name, asked.params.include_stopped, asked.params.at
        ),
        refuses=(NotFoundError,),
        renamed=_SERVICE,
    ),
    Route(
        method="GET",
        path="/v1/service/{service}/instances",
        name="get_service_instances",
        section="2.2",
        summary="List a service's instances",
        success="One page of the instances that match",
        params=models.InstanceQueryParams,
        result=models.ServiceInstances,
        call=lambda asked: asked.doors.get_service_instances(asked.params),
        refuses=(NotFoundError,),
        renamed=_SERVICE,
    ),
    Route(
        method="GET",
        path="/v1/service/{service}/rollback-readiness",
        name="get_rollback_readiness",
        summary="Tell for every instance whether and from where it could go back",
        success="The ways back, by instance and counted",
        params=arguments.RollbackReadinessParams,
        result=RollbackReadiness,
        call=lambda asked: asked.doors.get_rollback_readiness(
            asked.params.service_name, asked.params.version
        ),
        refuses=(NotFoundError,),
        renamed=_SERVICE,
    ),
    Route(
        method="GET",
        path="/v1/instance/{instance_id}/version-history",
        name="get_instance_version_history",
        section="2.3",
        summary="Tell what ended on one instance, newest first",
        success="One page of the instance's history",
        params=arguments.VersionHistoryParams,
        result=models.VersionHistory,
        call=lambda asked: asked.doors.get_instance_version_history(
            asked.params.instance_id, asked.params.limit, asked.params.offset
        ),
        refuses=(NotFoundError,),
    ),
)

ROLLBACKS: Final = (
    Route(
        method="POST",
        path="/v1/instance/{instance_id}/rollback",
        name="rollback_instance",
        section="3.1",
        summary="Take one instance back to a version",
        success="The rollback as it was accepted",
        params=models.InstanceRollbackParams,
        result=models.RollbackResult,
        call=lambda asked: asked.doors.rollback_instance(asked.params),
        refuses=(NotFoundError, ConflictError),
    ),
    Route(
        method="POST",
        path="/v1/rollback",
        name="rollback_batch",
        section="3.2",
        summary="Take several instances back to a version",
        success="The rollback as it was accepted",
        params=models.BatchRollbackParams,
        result=models.BatchRollbackResult,
        call=lambda asked: asked.doors.rollback_batch(asked.params),
        refuses=(NotFoundError, ConflictError),
    ),
    Route(
        method="GET",
        path="/v1/rollback",
        name="list_rollbacks",
        summary="List rollbacks, newest first",
        success="One page of rollbacks",
        params=arguments.TaskListParams,
        result=lists.RollbackList,
        call=lambda asked: asked.doors.list_rollbacks(**asked.params.model_dump()),
    ),
    Route(
        method="GET",
        path="/v1/rollback/{rollback_id}",
        name="get_rollback_status",
        section="3.3",
        summary="Tell the state of a rollback",
        success="The whole state of the rollback",
        params=http.RollbackIdParams,
        result=models.RollbackStatus,
        call=lambda asked: asked.doors.get_rollback_status(asked.params.rollback_id),
        refuses=(NotFoundError,),
    ),
    Route(
        method="GET",
        path="/v1/rollback/{rollback_id}/timeline",
        name="get_rollback_timeline",
        summary="Tell how long a rollback spent in which phase, on each instance",
        success="Every step of every assignment, up to now",
        params=http.RollbackIdParams,
        result=TaskTimeline,
        call=lambda asked: asked.doors.get_rollback_timeline(asked.params.rollback_id),
        refuses=(NotFoundError,),
    ),
    Route(
        method="POST",
        path="/v1/rollback/{rollback_id}/cancel",
        name="cancel_rollback",
        section="3.4",
        summary="Stop what a rollback has not switched yet",
        success="The cancellation was taken; `in_progress` until all parts have ended",
        params=http.RollbackIdParams,
        result=models.RollbackCancelResult,
        call=lambda asked: asked.doors.cancel_rollback(asked.params.rollback_id),
        refuses=(NotFoundError, ConflictError),
    ),
)

SYSTEM: Final = (
    Route(
        method="GET",
        path="/v1/system/health",
        name="get_system_health",
        section="4.1",
        summary="Tell whether the coordinator works",
        success="The coordinator's health",
        result=models.SystemHealth,
        call=lambda asked: asked.doors.get_system_health(),
    ),
    Route(
        method="GET",
        path="/v1/system/stats",
        name="get_system_stats",
        section="4.2",
        summary="Count the tasks of a period, and the instances now",
        success="The counts",
        params=arguments.SystemStatsParams,
        result=models.SystemStats,
        call=lambda asked: asked.doors.get_system_stats(asked.params.period),
    ),
    Route(
        method="GET",
        path="/v1/service",
        name="list_services",
        summary="List services",
        success="One page of services",
        params=arguments.ServiceListParams,
        result=lists.ServiceList,
        call=lambda asked: asked.doors.list_services(**asked.params.model_dump()),
    ),
    Route(
        method="GET",
        path="/v1/strategy",
        name="list_strategies",
        summary="List the strategies of the configuration",
        success="All of them, and which services take which by default",
        result=StrategyList,
        call=lambda asked: asked.doors.list_strategies(),
    ),
    Route(
        method="GET",
        path="/v1/events",
        name="events",
        summary="Follow every change of a task, an assignment or an instance",
        success="Server-sent events: `id` is the number, `event` the kind, `data` an Event",
        params=http.EventsParams,
        result=Event,
        answer=Answer.EVENTS,
    ),
)

TOKENS: Final = (
    Route(
        method="POST",
        path="/v1/token",
        name="create_token",
        summary="Make a token",
        success="The token, with its secret for the only time",
        params=access.TokenParams,
        result=access.CreatedToken,
        call=lambda asked: asked.doors.create_token(asked.params),
    ),
    Route(
        method="GET",
        path="/v1/token",
        name="list_tokens",
        summary="List tokens, newest first",
        success="All tokens, without secrets",
        result=access.TokenList,
        call=lambda asked: asked.doors.list_tokens(),
    ),
    Route(
        method="POST",
        path="/v1/token/{token_id}/revoke",
        name="revoke_token",
        summary="End a token at once",
        success="The token as it is now",
        params=http.TokenIdParams,
        result=access.Token,
        call=lambda asked: asked.doors.revoke_token(asked.params.token_id),
        refuses=(NotFoundError,),
    ),
)

AUDIT: Final = (
    Route(
        method="GET",
        path="/v1/audit",
        name="list_audit",
        summary="List what was asked and refused, newest first",
        success="One page of the audit trail",
        params=AuditListParams,
        result=AuditList,
        call=lambda asked: asked.doors.list_audit(**asked.params.model_dump()),
    ),
    Route(
        method="GET",
        path="/v1/audit/verify",
        name="verify_audit",
        summary="Look at every row of the audit trail",
        success="Whether the chain is whole, and where it is broken",
        params=AuditVerifyParams,
        result=AuditVerdict,
        call=lambda asked: asked.doors.verify_audit(asked.params.expect),
    ),
)

PROCESS: Final = (
    Route(
        method="GET",
        path="/livez",
        name="livez",
        summary="Tell whether the process answers",
        success="It does",
        result=http.Alive,
        call=_alive,
    ),
    Route(
        method="GET",
        path="/readyz",
        name="readyz",
        summary="Tell whether requests can be served",
        success="They can",
        result=http.Ready,
        call=_ready,
    ),
    Route(
        method="GET",
        path="/openapi.json",
        name="openapi",
        summary="This document",
        success="OpenAPI 3.1, without the envelope",
        answer=Answer.DOCUMENT,
    ),
)

ROUTES: Final[tuple[Route, ...]] = (
    *DEPLOYMENTS,
    *STEERING_DEPLOYMENTS,
    *VERSIONS,
    *ROLLBACKS,
    *RELEASES,
    *STEERING_ROLLBACKS,
    *SYSTEM,
    *TOKENS,
    *HOSTS,
    *AUTHORITY,
    *AUDIT,
    *AGENTS,
    *PROCESS,
)
