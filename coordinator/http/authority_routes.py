"""The part of the table of routes that is about the authority and its rotation."""

from __future__ import annotations

from typing import Final

from coordinator.http.route import Route
from protocol import access
from protocol.errors import ConflictError

AUTHORITY: Final = (
    Route(
        method="GET",
        path="/v1/authority",
        name="authority_status",
        summary="Tell the authority, and how far a rotation of it is",
        success="The certificates, and the hosts that are not ready for the next step",
        result=access.AuthorityStatus,
        call=lambda asked: asked.doors.authority_status(),
    ),
    Route(
        method="POST",
        path="/v1/authority/begin",
        name="begin_rotation",
        summary="Make the next authority, and let every host believe it, too",
        success="The authority as it is now",
        result=access.AuthorityStatus,
        call=lambda asked: asked.doors.begin_rotation(),
        refuses=(ConflictError,),
    ),
    Route(
        method="POST",
        path="/v1/authority/switch",
        name="switch_rotation",
        summary="Let the next authority sign from now on",
        success="The authority as it is now",
        params=access.ForceParams,
        result=access.AuthorityStatus,
        call=lambda asked: asked.doors.switch_rotation(asked.params.force),
        refuses=(ConflictError,),
    ),
    Route(
        method="POST",
        path="/v1/authority/finish",
        name="finish_rotation",
        summary="Forget the authority of before the switch",
        success="The authority as it is now",
        params=access.ForceParams,
        result=access.AuthorityStatus,
        call=lambda asked: asked.doors.finish_rotation(asked.params.force),
        refuses=(ConflictError,),
    ),
    Route(
        method="POST",
        path="/v1/authority/abort",
        name="abort_rotation",
        summary="Forget the next authority, before the switch",
        success="The authority as it is now",
        result=access.AuthorityStatus,
        call=lambda asked: asked.doors.abort_rotation(),
        refuses=(ConflictError,),
    ),
)
