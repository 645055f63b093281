"""The routes that steer a deployment or a rollback which exists, besides cancelling it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from coordinator.http import params as http
from coordinator.http.route import Asked, Route
from protocol import models, steering
from protocol.errors import ConflictError, NotFoundError
from protocol.params import Params
from protocol.results import Model

_REFUSES: Final = (NotFoundError, ConflictError)

_STEPS: Final = (
    ("pause", "Begin nothing new of a {}", "one that was paused already stays so"),
    ("resume", "Go on with a {} that was paused", "one that was not paused goes on as it did"),
    ("promote", "Let the others follow the canary of a {}", "the others follow"),
)
"""What the same is for both kinds of tasks: what it does, and what comes of it."""


def _steps(word: str, field: str, params: type[Params], result: type[Model]) -> Iterator[Route]:
    """Pause, resume and promote for the tasks called `word`, whose id is `field`."""
    for step, summary, success in _STEPS:
        name = f"{step}_{word}"
        yield Route(
            method="POST",
            path=f"/v1/{word}/{{{field}}}/{step}",
            name=name,
            summary=summary.format(word),
            success=f"The task as it is now; {success}",
            params=params,
            result=result,
            call=partial(_steer, name, field),
            refuses=_REFUSES,
        )


async def _steer(name: str, field: str, asked: Asked) -> Any:
    return await getattr(asked.doors, name)(getattr(asked.params, field))


STEERING_DEPLOYMENTS: Final = (
    *_steps("deployment", "deploy_id", http.DeployIdParams, models.DeployStatus),
    Route(
        method="POST",
        path="/v1/deployment/{deploy_id}/retry",
        name="retry_deployment",
        summary="Deploy again where a deployment has failed or was cancelled",
        success="The new deployment as it was accepted; the same `new_id` gets the first answer",
        params=steering.RetryDeploymentParams,
        result=models.DeployResult,
        call=lambda asked: asked.doors.retry_deployment(
            asked.params.deploy_id, asked.params.new_id, force=asked.params.force
        ),
        refuses=_REFUSES,
    ),
    Route(
        method="POST",
        path="/v1/deployment/{deploy_id}/rollback",
        name="rollback_deployment",
        summary="Take what a deployment has switched back to what ran before",
        success="The rollback as it was accepted",
        params=steering.RollbackDeploymentParams,
        result=models.BatchRollbackResult,
        call=lambda asked: asked.doors.rollback_deployment(
            asked.params.deploy_id,
            force=asked.params.force,
            timeout=asked.params.timeout,
            strategy=asked.params.strategy,
        ),
        refuses=_REFUSES,
    ),
)

STEERING_ROLLBACKS: Final = (
    *_steps("rollback", "rollback_id", http.RollbackIdParams, models.RollbackStatus),
    Route(
        method="POST",
        path="/v1/rollback/{rollback_id}/retry",
        name="retry_rollback",
        summary="Roll back again where a rollback has failed or was cancelled",
        success="The new rollback as it was accepted; the same `new_id` gets the first answer",
        params=steering.RetryRollbackParams,
        result=models.BatchRollbackResult,
        call=lambda asked: asked.doors.retry_rollback(
            asked.params.rollback_id, asked.params.new_id
        ),
        refuses=_REFUSES,
    ),
)
