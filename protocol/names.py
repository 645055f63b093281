"""The identifiers of the interface, defined once and checked at every boundary.

Section 3, "Input": services, instances, hosts and tasks share one alphabet, versions
also allow `+`, and nothing contains `..`, so that a name is always a safe file name.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PATTERN = re.compile(r"([A-Za-z0-9._*?-]|\[!?[A-Za-z0-9._-]+\])+", re.ASCII)
_LONGEST = 128

NAME_RULE = "1 to 128 of A-Z a-z 0-9 . _ -, beginning with a letter or digit, without '..'"
VERSION_RULE = "1 to 128 of A-Z a-z 0-9 . _ + -, beginning with a letter or digit, without '..'"
DIGEST_RULE = "a SHA-256 as 64 lower-case hex digits"
PREVIOUS = "@previous"
"""Instead of a version to go back to: for each instance the last other one that was healthy."""

TARGET_RULE = f"{VERSION_RULE}; or {PREVIOUS}"
PATTERN_RULE = "1 to 128 of A-Z a-z 0-9 . _ - and the wildcards * ? [abc] [!abc]"


def check_name(text: str) -> str:
    """Return `text` if it is a valid service, host, instance or task id; else raise ValueError."""
    if not _NAME.fullmatch(text) or ".." in text:
        raise ValueError(f"must be {NAME_RULE}")
    return text


def check_version(text: str) -> str:
    """Return `text` if it is a valid version; else raise ValueError."""
    if not _VERSION.fullmatch(text) or ".." in text:
        raise ValueError(f"must be {VERSION_RULE}")
    return text


def check_target(text: str) -> str:
    """Return `text` if it says to which version to go back; else raise ValueError."""
    return text if text == PREVIOUS else check_version(text)


def check_pattern(text: str) -> str:
    """Return `text` if it is a shell-style pattern of service names; else raise ValueError."""
    if len(text) > _LONGEST or not _PATTERN.fullmatch(text):
        raise ValueError(f"must be {PATTERN_RULE}")
    return text


def check_digest(text: str) -> str:
    """Return `text` if it is a SHA-256 in lower-case hex; else raise ValueError."""
    if not _DIGEST.fullmatch(text):
        raise ValueError(f"must be {DIGEST_RULE}")
    return text


def _described(shape: re.Pattern[str]) -> WithJsonSchema:
    """The same rule for a JSON schema, where a `..` is refused by looking ahead."""
    return WithJsonSchema({"type": "string", "pattern": rf"^(?!.*\.\.){shape.pattern}$"})


_NameText = Annotated[str, AfterValidator(check_name), _described(_NAME)]

ServiceName = _NameText
InstanceId = _NameText
HostId = _NameText
TaskId = _NameText
StrategyName = _NameText
Version = Annotated[str, AfterValidator(check_version), _described(_VERSION)]
TargetVersion = Annotated[
    str,
    AfterValidator(check_target),
    WithJsonSchema({"type": "string", "pattern": rf"^({PREVIOUS}|(?!.*\.\.){_VERSION.pattern})$"}),
]
Digest = Annotated[str, AfterValidator(check_digest), _described(_DIGEST)]
ServicePattern = Annotated[
    str,
    AfterValidator(check_pattern),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^{_PATTERN.pattern}$",
            "minLength": 1,
            "maxLength": _LONGEST,
        }
    ),
]
