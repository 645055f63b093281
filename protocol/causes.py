"""Why instances of a task failed, told once for all that failed alike. All of it is (+)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from protocol.results import Model

Fault = Literal["package", "host", "unknown"]


class FailureCause(Model):
    """(+) One cause of failures, and the instances that it struck."""

    message: str = Field(description="the cause in the words of the first of `instances`")
    fault: Fault = Field(description="whose fault it is")
    why: str = Field(description="why it is taken for that")
    step: str = Field("", description='the agent\'s step that failed; "" if that is not known')
    exit_status: int | None = Field(None, description="what the service, or its check, ended with")
    signal: int | None = Field(None, description="what killed the service, or its check")
    http_status: int | None = Field(
        None, description="what the package server, or the health check, was answered"
    )
    count: int = Field(description="how many instances failed so")
    instances: list[str] = Field(description="the first 20 of them")
