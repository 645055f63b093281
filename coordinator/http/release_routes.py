"""The routes about releases on hosts' disks: fetched ahead of time, and pinned."""

from __future__ import annotations

from typing import Final

from coordinator import arguments
from coordinator.http import params as http
from coordinator.http.route import Route
from protocol.errors import ConflictError, NotFoundError
from protocol.releases import (
    Pin,
    PinList,
    PrefetchCancelResult,
    PrefetchList,
    PrefetchParams,
    PrefetchResult,
    PrefetchStatus,
)

RELEASES: Final = (
    Route(
        method="POST",
        path="/v1/prefetch",
        name="prefetch",
        summary="Bring a release to the hosts' disks ahead of its deployment",
        success="The prefetch as it was accepted; an equal one sent again gets the first answer",
        params=PrefetchParams,
        result=PrefetchResult,
        call=lambda asked: asked.doors.prefetch(asked.params),
        refuses=(NotFoundError, ConflictError),
    ),
    Route(
        method="GET",
        path="/v1/prefetch",
        name="list_prefetches",
        summary="List prefetches, newest first",
        success="One page of prefetches",
        params=arguments.TaskListParams,
        result=PrefetchList,
        call=lambda asked: asked.doors.list_prefetches(**asked.params.model_dump()),
    ),
    Route(
        method="GET",
        path="/v1/prefetch/{prefetch_id}",
        name="get_prefetch_status",
        summary="Tell the state of a prefetch",
        success="The whole state of the prefetch",
        params=http.PrefetchIdParams,
        result=PrefetchStatus,
        call=lambda asked: asked.doors.get_prefetch_status(asked.params.prefetch_id),
        refuses=(NotFoundError,),
    ),
    Route(
        method="POST",
        path="/v1/prefetch/{prefetch_id}/cancel",
        name="cancel_prefetch",
        summary="Stop what a prefetch has not brought to disk yet",
        success="The cancellation was taken; `in_progress` until all parts have ended",
        params=http.PrefetchIdParams,
        result=PrefetchCancelResult,
        call=lambda asked: asked.doors.cancel_prefetch(asked.params.prefetch_id),
        refuses=(NotFoundError, ConflictError),
    ),
    Route(
        method="GET",
        path="/v1/pin",
        name="list_pins",
        summary="List pinned versions, newest first",
        success="All pinned versions, each with how many instances have it on disk",
        params=arguments.PinListParams,
        result=PinList,
        call=lambda asked: asked.doors.list_pins(asked.params.service),
    ),
    Route(
        method="POST",
        path="/v1/service/{service}/version/{version}/pin",
        name="pin_release",
        summary="Keep a version on hosts' disks whatever else is removed there",
        success="The pin; one that was there already is as it was",
        params=arguments.PinParams,
        result=Pin,
        call=lambda asked: asked.doors.pin_release(asked.params.service, asked.params.version),
        refuses=(NotFoundError, ConflictError),
    ),
    Route(
        method="POST",
        path="/v1/service/{service}/version/{version}/unpin",
        name="unpin_release",
        summary="Let a version go the way of all releases",
        success="The pin as it was",
        params=arguments.PinParams,
        result=Pin,
        call=lambda asked: asked.doors.unpin_release(asked.params.service, asked.params.version),
        refuses=(NotFoundError,),
    ),
)
