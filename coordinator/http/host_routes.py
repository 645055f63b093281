"""The routes about hosts: what operators decide of them, and what agents need to come in."""

from __future__ import annotations

from typing import Final

from coordinator import arguments
from coordinator.http import params as http
from coordinator.http.route import Answer, Asked, Route
from protocol import access
from protocol.errors import (
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)


async def _authority(asked: Asked) -> http.Authority:
    return http.Authority(authority=asked.doors.authority(), older=asked.doors.older_authority())


async def _enroll(asked: Asked) -> http.Enrolment:
    sent: http.EnrollParams = asked.params
    certificate, authority = await asked.doors.enroll(
        sent.token, sent.host_id, sent.csr, asked.caller.address
    )
    return http.Enrolment(certificate=certificate, authority=authority)


HOSTS: Final = (
    Route(
        method="GET",
        path="/v1/host",
        name="list_hosts",
        summary="List hosts and who asks to be one, newest first",
        success="One page of hosts",
        params=arguments.HostListParams,
        result=access.HostList,
        call=lambda asked: asked.doors.list_hosts(**asked.params.model_dump()),
    ),
    Route(
        method="POST",
        path="/v1/host/{host_id}/approve",
        name="approve_host",
        summary="Let in the key that asks to be this host",
        success="The host as it is now; its agent gets its certificate when it asks again",
        params=arguments.HostDecisionParams,
        result=access.Host,
        call=lambda asked: asked.doors.approve_host(asked.params.host_id, asked.params.fingerprint),
        refuses=(NotFoundError, ConflictError),
    ),
    Route(
        method="POST",
        path="/v1/host/{host_id}/reject",
        name="reject_host",
        summary="Refuse the key that asks to be this host",
        success="The host as it is now",
        params=arguments.HostDecisionParams,
        result=access.Host,
        call=lambda asked: asked.doors.reject_host(asked.params.host_id, asked.params.fingerprint),
        refuses=(NotFoundError, ConflictError),
    ),
    Route(
        method="POST",
        path="/v1/host/{host_id}/revoke",
        name="revoke_host",
        summary="Cut a host off, and refuse its certificates",
        success="The host as it is now",
        params=arguments.HostIdParams,
        result=access.Host,
        call=lambda asked: asked.doors.revoke_host(asked.params.host_id),
        refuses=(NotFoundError, ConflictError),
    ),
    Route(
        method="POST",
        path="/v1/instance/{instance_id}/release",
        name="release_instance",
        summary="Let an instance belong to no host; the next one that brings it owns it",
        success="The instance, and the host that it belonged to",
        params=arguments.InstanceIdParams,
        result=access.ReleasedInstance,
        call=lambda asked: asked.doors.release_instance(asked.params.instance_id),
        refuses=(NotFoundError, ConflictError),
    ),
)

AGENTS: Final = (
    Route(
        method="GET",
        path="/v1/agent/authority",
        name="authority",
        summary="Tell the certificate of the coordinator's authority",
        success="The certificate, PEM; an agent trusts it by the digest in its join token",
        result=http.Authority,
        call=_authority,
    ),
    Route(
        method="POST",
        path="/v1/agent/enroll",
        name="enroll",
        summary="Join a host with a join token",
        success="The host's certificate and the authority's",
        params=http.EnrollParams,
        result=http.Enrolment,
        call=_enroll,
        refuses=(UnauthenticatedError, PermissionDeniedError, ConflictError),
    ),
    Route(
        method="POST",
        path="/v1/agent/join",
        name="ask_to_join",
        summary="Ask to be let in without a token",
        success="What was decided of the key; the certificate, once it was approved",
        params=http.AskToJoinParams,
        result=access.JoinAnswer,
        call=lambda asked: asked.doors.ask_to_join(
            asked.params.host_id, asked.params.csr, asked.caller.address
        ),
        refuses=(ConflictError,),
    ),
    Route(
        method="GET",
        path="/v1/agent/connect",
        name="connect",
        summary="The agents' websocket; the client certificate says who comes",
        success="",
        refuses=(UnauthenticatedError,),
        answer=Answer.SOCKET,
    ),
)
