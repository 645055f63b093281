"""(+) What is asked of a task besides a cancellation: to be tried again, or taken back."""

from __future__ import annotations

from pydantic import Field

from protocol.names import NAME_RULE, TaskId
from protocol.params import BOOL_RULE, TIMEOUT_RULE, Params, Timeout
from protocol.strategy import STRATEGY_RULE, Strategy

NEW_ID_RULE = f"the new task's id: {NAME_RULE}; left out: one is made"


class RetryDeploymentParams(Params):
    """(+) A new deployment for what has failed or was cancelled in this one.

    `force`: also where no way back to what runs would be left, as of a deployment.
    """

    deploy_id: TaskId = Field(description=NAME_RULE)
    new_id: TaskId | None = Field(None, description=NEW_ID_RULE)
    force: bool = Field(
        False, description=f"{BOOL_RULE}: even where no way back to what runs would be left"
    )


class RetryRollbackParams(Params):
    """(+) A new rollback for what has failed or was cancelled in this one."""

    rollback_id: TaskId = Field(description=NAME_RULE)
    new_id: TaskId | None = Field(None, description=NEW_ID_RULE)


class RollbackDeploymentParams(Params):
    """(+) Each instance that a deployment has switched, back to what it ran before.

    `force`: cancel it if it has not ended, take instances over from other tasks, take back also
    what runs something newer, and leave out what can't go back.
    """

    deploy_id: TaskId = Field(description=NAME_RULE)
    force: bool = Field(False, description=BOOL_RULE)
    timeout: Timeout | None = Field(
        None, description=f"{TIMEOUT_RULE}; left out: as of the deployment"
    )
    strategy: Strategy | None = Field(None, description=STRATEGY_RULE)
