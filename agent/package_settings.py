"""`[packages]` of the agent's settings: whose packages are accepted, from where, how large."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from agent.allowed_hosts import HOST_RULE, AllowedHosts, HostRule
from agent.minisign import KEY_RULE, PublicKey
from agent.terms import MAX_BYTES, MAX_SECONDS, MIN_RATE, Terms
from agent.trust import Trust

MAX_KEYS = 64
MAX_RULES = 1000
DAY = 86_400.0


def _check_key(text: str) -> str:
    PublicKey.parse(text)
    return text


def _check_rule(text: str) -> str:
    HostRule.parse(text)
    return text


class PackageSettings(BaseModel):
    """What this host asks of every package."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trusted_keys: tuple[Annotated[str, AfterValidator(_check_key)], ...] = Field(
        (),
        max_length=MAX_KEYS,
        description=f"public keys, one of which must have signed each package; each is {KEY_RULE}",
    )
    allowed_hosts: tuple[Annotated[str, AfterValidator(_check_rule)], ...] | None = Field(
        None,
        min_length=1,
        max_length=MAX_RULES,
        description=f"where packages may come from, at least one; each is {HOST_RULE}",
    )
    max_bytes: int = Field(
        MAX_BYTES, ge=1, le=MAX_BYTES, description=f"bytes of one package, 1 to {MAX_BYTES}"
    )
    max_seconds: float = Field(
        MAX_SECONDS,
        gt=0,
        le=86_400,
        allow_inf_nan=False,
        description="seconds for one package, above 0 to 86400",
    )
    min_rate: int = Field(
        MIN_RATE,
        ge=0,
        le=1_000_000_000,
        description="bytes a second that a server must send at least, 0 to 1000000000; 0: any",
    )

    verify_interval: float = Field(
        DAY,
        ge=0,
        le=30 * DAY,
        allow_inf_nan=False,
        description="seconds between two looks at each release that is kept on disk, 0 to "
        "2592000; 0: none are looked at",
    )

    @field_validator("trusted_keys")
    @classmethod
    def _no_key_twice(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        ids = [PublicKey.parse(text).key_id for text in keys]
        for key_id in ids:
            if ids.count(key_id) > 1:
                raise ValueError(f"the key {key_id} stands there twice")
        return keys

    def terms(self) -> Terms:
        """These settings, ready to be asked."""
        rules = self.allowed_hosts
        return Terms(
            hosts=AllowedHosts(None if rules is None else [HostRule.parse(one) for one in rules]),
            trust=Trust([PublicKey.parse(text) for text in self.trusted_keys]),
            max_bytes=self.max_bytes,
            max_seconds=self.max_seconds,
            min_rate=self.min_rate,
        )
