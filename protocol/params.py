"""What parameters are made of: strict, and refused by the name of each wrong field.

Wrong types, unknown fields and values outside the stated range are refused. A rule is the text that
says what a field accepts; it stands in the refusal, and in the documentation of each door.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_serializer,
)

from protocol.errors import InvalidRequestError
from protocol.names import PREVIOUS, Digest, InstanceId, ServicePattern

MAX_INSTANCES = 20_000
MAX_URL = 8_000
MAX_PATTERNS = 32
DEFAULT_TIMEOUT = 300
DEFAULT_RETRY_COUNT = 3

INSTANCES_RULE = f"1 to {MAX_INSTANCES} different instance ids"
TIMEOUT_RULE = "a whole number of seconds from 1 to 86400"
URL_RULE = 'an https:// URL without user info and without ", < and >, at most 8000 characters'
LIMIT_RULE = "a whole number from 1 to 1000"
OFFSET_RULE = "a whole number from 0"
BOOL_RULE = "true or false"


_HOST = r"([A-Za-z0-9._~-]+|\[([0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}\])"
_PORT = (
    r"(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])?)?"
)
"""For the schema: what a program may count on. The check itself takes a little more."""

_NEVER = '"<>\x7f'
"""No URL holds them, and texts for people tell by them where one ends (`protocol.urls`)."""


def check_package_url(url: str) -> str:
    """Return `url` if a package may be fetched from it; else raise ValueError."""
    problem = ValueError(f"must be {URL_RULE}")
    if len(url) > MAX_URL or not url.isascii() or any(c <= " " or c in _NEVER for c in url):
        raise problem
    try:
        parts = urlsplit(url)
        port_is_sound = parts.port is None or parts.port > 0
    except ValueError:
        raise problem from None
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc or not port_is_sound:
        raise problem
    return url


def _all_different(texts: list[str]) -> list[str]:
    counts = Counter(texts)
    if len(counts) != len(texts):
        twice = next(text for text in texts if counts[text] > 1)
        raise ValueError(f"{twice} stands there twice")
    return texts


def _for_one_version(given: str | None, info: ValidationInfo) -> str | None:
    """Refuse one package, or its digest, for what may be different versions."""
    if given and info.data.get("target_version") == PREVIOUS:
        raise ValueError(f"can't be given with {PREVIOUS}, which may be different versions")
    return given


PackageUrl = Annotated[
    str,
    AfterValidator(check_package_url),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^https://{_HOST}{_PORT}([/?#][!#-;=?-~]*)?$",
            "maxLength": MAX_URL,
        }
    ),
]
OnePackageUrl = Annotated[PackageUrl | Literal[""], AfterValidator(_for_one_version)]
OneDigest = Annotated[Digest, AfterValidator(_for_one_version)]
ONE_PACKAGE_FOR_ONE_VERSION: dict[str, JsonValue] = {
    "if": {"properties": {"target_version": {"const": PREVIOUS}}},
    "then": {"properties": {"package_url": {"const": ""}, "sha256": {"type": "null"}}},
}
"""What these two look at in the field beside them, for the JSON schema."""

InstanceIds = Annotated[
    list[InstanceId],
    Field(min_length=1, max_length=MAX_INSTANCES, json_schema_extra={"uniqueItems": True}),
    AfterValidator(_all_different),
]
ServicePatterns = Annotated[
    list[ServicePattern],
    Field(min_length=1, max_length=MAX_PATTERNS, json_schema_extra={"uniqueItems": True}),
    AfterValidator(_all_different),
]
Timeout = Annotated[int, Field(ge=1, le=86_400)]
Limit = Annotated[int, Field(ge=1, le=1000)]
Offset = Annotated[int, Field(ge=0, le=2**62)]


class Params(BaseModel):
    """The base of all inputs: strict, frozen, and without unknown fields."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    ADDED_LATER: ClassVar[tuple[str, ...]] = ()
    """Fields that came after a release. At their default they are left out of what is written:
    so a body stays equal to the same one of before, and an older coordinator takes it."""

    @model_serializer(mode="wrap")
    def _as_before(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        known = type(self).model_fields
        plain = [name for name in self.ADDED_LATER if getattr(self, name) == known[name].default]
        return {name: value for name, value in whole(self).items() if name not in plain}

    def __init__(self, /, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise refusal(type(self), error) from None

    # So that a model inside of another one is refused by the outer one, with the whole path.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


# ---- refusals --------------------------------------------------------------

P = TypeVar("P", bound=Params)


def parse_params(model: type[P], raw: object, *, from_text: bool = False) -> P:
    """Validate `raw` as `model`, or raise `InvalidRequestError` that names every wrong field.

    `from_text` takes a mapping of texts, as in a query string: whole numbers are decimal
    digits, booleans `true`, `false`, `1` or `0`.
    """
    if from_text and isinstance(raw, Mapping):
        raw = {name: _from_text(model, name, text) for name, text in raw.items()}
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise refusal(model, error) from None


def _from_text(model: type[BaseModel], name: str, text: str) -> object:
    """The value that `text` is for the field; text that is none stays, and is then refused."""
    accepted = model.model_fields[name].annotation if name in model.model_fields else str
    if accepted in (bool, bool | None):
        return {"true": True, "1": True, "false": False, "0": False}.get(text, text)
    if accepted in (int, int | None) and re.fullmatch(r"-?[0-9]{1,19}", text):
        return int(text)
    return text


def refusal(model: type[BaseModel], error: ValidationError) -> InvalidRequestError:
    """The refusal that says, for each wrong field, what is wrong and what it accepts."""
    found: dict[str, str] = {}
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        path, owner, field, inside = _place(model, problem["loc"])
        if problem["type"] == "extra_forbidden":
            owner = inside or owner
            unknown = ascii(str(problem["loc"][-1]))[1:-1][:128]
            path = f"{path}.{unknown}" if path else unknown
        found.setdefault(path or "body", _explain(owner, field, problem["type"], problem))
        if len(found) == 100:
            break
    message = "; ".join(f"{field}: {said}" for field, said in list(found.items())[:5])
    return InvalidRequestError(
        message, [{"field": field, "message": said} for field, said in found.items()]
    )


def _place(
    model: type[BaseModel], loc: tuple[int | str, ...]
) -> tuple[str, type[BaseModel], str, type[BaseModel] | None]:
    """Where a problem is: its path, the model and field that tell what is accepted there, and
    the model that the field is made of, if it is made of one.

    What stands in `loc` besides fields and places in a list is the library's own.
    """
    path, owner, field = "", model, ""
    inside: type[BaseModel] | None = model
    for step in loc:
        if isinstance(step, int) and path:
            path += f"[{step}]"
        elif inside is not None and step in inside.model_fields:
            owner, field = inside, str(step)
            path = f"{path}.{step}" if path else str(step)
            inside = _model_in(owner.model_fields[field].annotation)
    return path, owner, field, inside


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that values of this type are, or are made of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _explain(model: type[BaseModel], field: str, type_: str, problem: Any) -> str:
    known = model.model_fields
    if type_ == "extra_forbidden":
        return f"not known; accepted are {', '.join(known)}"
    accepts = (known[field].description or "").removeprefix("(+) ") if field in known else ""
    if type_ == "missing":
        return f"required: {accepts}" if accepts else "required"
    said = str(problem["msg"]).removeprefix("Value error, ")
    if not accepts:
        return said
    if type_ == "value_error" and not said.startswith("must be"):
        return f"{said}; must be {accepts}"
    return f"must be {accepts}"
