"""Parameters given by people: validated, explained in one line where wrong, hashed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Any, TypeVar
from zoneinfo import available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SecretBytes,
    SecretStr,
    ValidationError,
)
from pydantic_core import ErrorDetails

from procezo_assets.errors import ParameterError, did_you_mean

M = TypeVar("M", bound=BaseModel)

# what people call a secret, in whole words where others have it in them (secretion, groundsnow);
# a treatment's own are known by their type
_SECRET_NAME = re.compile(
    r"passw|passphrase|credential|^(?:url|notify)$"
    r"|^(?:(?:api|db|ftp|mail|pg|smtp|sql|user)[_-]?)?pass$"
    r"|(?<![a-z])(?:pwds?|dsn|(?:client|app)?secrets?|(?:access|auth|api|bearer)?tokens?"
    r"|auth(?:orization)?|cookies?|(?:web)?hooks?|conn(?:ection)?[_-]?str(?:ing)?"
    r"|(?:access|account|api|encryption|private|secret|shared|signing)[_-]?(?:access[_-]?)?keys?"
    r")(?![a-z])"
)
_CAMEL_CASE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# `user:password@` of an address, with slashes or blanks in it, the latter after a colon only, as
# sentences have addresses, too; `password=` of libpq and others
_SECRET_TEXT = re.compile(
    r"://(?:\S*|[^/?#\s]*:[^/?#\n]*)@|(?:passw(?:or)?d|pwd|(?:account|access)key)\s*=",
    re.IGNORECASE,
)
_MASK = "**********"
_SHOWN_DEPTH = 20


class Parameters(BaseModel):
    """Base of a treatment's parameters: unknown names are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """What an error or a traceback may show."""
        for name, value in super().__repr_args__():
            yield name, masked(value, secret=is_secret_name(name or ""))


@cache
def known_zones() -> frozenset[str]:
    """The names of IANA time zones; a walk through a thousand files tells them."""
    return frozenset(available_timezones())


def _known_zone(name: str) -> str:
    if name not in known_zones():
        raise ValueError(f"'{name}' is no IANA time zone (such as Europe/Paris)")
    return name


_OFFSET = re.compile(
    r"(?:UTC|GMT)?\s*(?:(?P<sign>[+\-\u2212])\s*(?P<hours>\d{1,2})(?::?(?P<minutes>[0-5]\d))?)?"
    r"(?P<zulu>Z)?",
    re.IGNORECASE,
)
_LARGEST_OFFSET = timedelta(hours=18)


def fixed_offset(text: str) -> timedelta | None:
    """Read a fixed offset from UTC: `+02:00`, `UTC+2`, `GMT-0330`, `UTC`, `Z`.

    Args:
        text: What stands in a parameter or in a header.

    Returns:
        The offset, or None where the text is none.
    """
    found = _OFFSET.fullmatch(text.strip())
    if found is None or not text.strip():
        return None
    offset = timedelta(hours=int(found["hours"] or 0), minutes=int(found["minutes"] or 0)) * (
        -1 if found["sign"] and found["sign"] != "+" else 1
    )
    return offset if abs(offset) <= _LARGEST_OFFSET else None


def offset_name(offset: timedelta) -> str:
    """Write a fixed offset as `UTC` or `+02:00`."""
    minutes = round(offset.total_seconds() / 60)
    if not minutes:
        return "UTC"
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def _known_zone_or_offset(text: str) -> str:
    if text in known_zones():
        return text
    offset = fixed_offset(text)
    if offset is None:
        raise ValueError(
            f"'{text}' is no IANA time zone (such as Europe/Paris) and no offset (such as +02:00)"
        )
    return offset_name(offset)


def _as_utc(value: datetime) -> datetime:
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{value} is outside the years 1 to 9999 in UTC") from None


ZoneName = Annotated[str, AfterValidator(_known_zone)]
ZoneOrOffset = Annotated[str, AfterValidator(_known_zone_or_offset)]
Instant = Annotated[
    datetime | None,
    BeforeValidator(lambda value: value or None),
    AfterValidator(lambda value: value and _as_utc(value)),
]


def validated(model: type[M], values: Mapping[str, Any], *, where: str) -> M:
    """Validate values against a model.

    Args:
        model: The model.
        values: What a person wrote.
        where: Names file and step, for the error.

    Raises:
        ParameterError: Names the parameter, what was expected, and the nearest valid name.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problem, hint = explain(error, model)
        raise ParameterError(f"{where}: {problem}", hint) from None


def explain(error: ValidationError, model: type[BaseModel]) -> tuple[str, str]:
    """Say what is wrong first, and what to do: problem and hint, neither shows secrets."""
    found = error.errors(include_url=False)
    # of a union's branches the one that got furthest is the one that was meant
    first = max((one for one in found if one["loc"][:1] == found[0]["loc"][:1]), key=_depth)
    models = model.model_json_schema().get("$defs", {})
    loc = [part for part in first["loc"] if not (_is_branch(part) or part in models)]
    if first["type"] == "extra_forbidden" and loc[-1:] != [first["loc"][-1]]:
        loc.append(first["loc"][-1])  # whatever it looks like, a person wrote it
    name = ".".join(map(str, loc)) or "value"
    if first["type"] == "extra_forbidden":
        return f"unknown parameter '{name}'", did_you_mean(str(loc[-1]), _names_at(model, loc[:-1]))
    if first["type"] == "missing":
        return f"parameter '{name}' is missing", "add it"
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if first["type"] == "value_error":
        return f"parameter '{name}': {message}" if loc else message, ""
    secret = secret_names(model)
    if any(is_secret_name(str(part), secret) for part in loc):
        return f"parameter '{name}': {message}", ""
    return f"parameter '{name}': {message}", f"found {_shown(first['input'])}"


def parameter_names(model: type[BaseModel]) -> list[str]:
    """The names by which a model's fields are given."""
    return [field.alias or name for name, field in model.model_fields.items()]


def canonical_json(model: BaseModel) -> str:
    """Write a model as JSON with sorted keys, secrets masked."""
    return json.dumps(
        model.model_dump(mode="json", by_alias=True), sort_keys=True, ensure_ascii=False
    )


def parameters_hash(model: BaseModel) -> str:
    """Hash effective parameters: sha256 of their canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(model).encode()).hexdigest()


def is_secret_name(name: str, declared: Collection[str] = ()) -> bool:
    """Tell whether a parameter is a secret by its name.

    Args:
        name: The parameter's name.
        declared: The names that a model declares as secret (see `secret_names`).
    """
    words = _CAMEL_CASE.sub("_", name).lower()
    return name in declared or bool(_SECRET_NAME.search(words))


def secret_names(model: type[BaseModel]) -> set[str]:
    """The names of a model's parameters that are declared as secret."""
    return {
        name
        for schema in (model.model_json_schema(by_alias=by_alias) for by_alias in (True, False))
        for one in (schema, *schema.get("$defs", {}).values())
        for name, described in one.get("properties", {}).items()
        if any(option.get("format") == "password" for option in _options(described))
    }


def plain_secrets(params: BaseModel) -> set[str]:
    """The names, by field and by alias, of parameters that hold a secret as it is."""
    return {
        written
        for name, field in type(params).model_fields.items()
        if _holds_secret(getattr(params, name))
        for written in (name, field.alias, field.validation_alias)
        if isinstance(written, str)
    }


def _holds_secret(value: object) -> bool:
    if isinstance(value, BaseModel):
        return any(_holds_secret(inner) for _, inner in value)
    if isinstance(value, Mapping):
        return any(map(_holds_secret, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return any(map(_holds_secret, value))
    return isinstance(value, SecretStr | SecretBytes)


def shown_json(params: BaseModel) -> str:
    """Write parameters as JSON for people: what has a secret's name is masked as well."""
    return json.dumps(
        masked(params.model_dump(mode="json", by_alias=True)), sort_keys=True, ensure_ascii=False
    )


def is_secret_text(text: str) -> bool:
    """Tell whether a text looks like the address of a user, or has a password in it."""
    return _SECRET_TEXT.search(text) is not None


def masked(value: object, *, secret: bool = False, depth: int = 0) -> object:
    """Mask texts that by name or looks are secrets.

    Args:
        value: What JSON can hold.
        secret: Whether what it is part of has a secret's name.
        depth: How many lists and objects it is in; below twenty nothing is shown.
    """
    if depth > _SHOWN_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        inner = secret and set(value) != {"env"}  # the name of a variable is none
        return {
            key: masked(item, secret=inner or is_secret_name(str(key)), depth=depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        inner = secret or any(isinstance(item, str) and is_secret_name(item) for item in value)
        return [masked(item, secret=inner, depth=depth + 1) for item in value]
    if isinstance(value, str) and value and (secret or is_secret_text(value)):
        return _MASK
    return value


def _names_at(model: type[BaseModel], loc: Iterable[object]) -> list[str]:
    """The valid names at a place inside a model, read from its JSON schema."""
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.get("$defs", {})
    node: dict[str, Any] = schema
    for part in loc:
        options = [_resolved(option, definitions) for option in _options(node)]
        found: dict[str, Any] = {}
        for option in options:
            found = option.get("properties", {}).get(part) or found
            # keys of a mapping: any, or those of a pattern
            rest = option.get("items" if isinstance(part, int) else "additionalProperties")
            for extra in (rest, *option.get("patternProperties", {}).values()):
                found = found or (extra if isinstance(extra, dict) else {})
        node = _resolved(found, definitions)
    names: list[str] = []
    for option in _options(node):
        names.extend(_resolved(option, definitions).get("properties", {}))
    return names


def _options(node: dict[str, Any]) -> list[dict[str, Any]]:
    return [node, *node.get("anyOf", [])]


def _resolved(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    reference = node.get("$ref", "")
    found: dict[str, Any] = definitions.get(reference.rpartition("/")[2], node)
    return found


def _depth(error: ErrorDetails) -> int:
    return len(error["loc"])


def _is_branch(part: object) -> bool:
    """Whether part of a location names a branch of a union rather than something a person wrote."""
    return isinstance(part, str) and ("[" in part or part in {"str", "int", "float", "bool"})


def _shown(value: object) -> str:
    text = json.dumps(masked(value), default=str, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004 - one line stays one
