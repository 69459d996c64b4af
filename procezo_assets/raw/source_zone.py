"""The zone of a file's clock: declared, in its timestamps, in its header, or assumed."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from procezo_assets.errors import DialectError
from procezo_assets.parameters import fixed_offset, known_zones, offset_name
from procezo_assets.raw.dialect import ZoneSource
from procezo_assets.raw.headers import ZONE_WORDS, stated_offset, zone_word
from procezo_assets.raw.loggers import Logger

ZONE_ASSUMED = "the file names no time zone: UTC is assumed; set timezone"
_TITLE = re.compile(
    r"(?:time ?zone|zeitzone|fuseau(?: horaire)?|utc ?offset|gmt ?offset)"
    r"[\s:=;,\"(]*(?P<zone>[^;,|\t\")]+)",
    re.IGNORECASE,
)
_IANA = re.compile(r"[A-Z][A-Za-z_]+/[A-Za-z_]+(?:/[A-Za-z_]+)?")
_OFFSET = re.compile(r"(?:UTC|GMT)?[+-][0-9]{2}:?[0-9]{2}")
_HINT = "set timezone to an IANA name such as Europe/Paris or an offset such as +02:00"


class SourceZone(NamedTuple):
    """The zone of timestamps that name none.

    Args:
        name: IANA name, `UTC` or an offset.
        source: Where it is from.
        words: Abbreviations that may stand behind timestamps.
        problem: What a person should know.
    """

    name: str
    source: ZoneSource
    words: tuple[str, ...] = ()
    problem: str = ""


def source_zone(
    *,
    declared: str | None,
    words: Sequence[str],
    all_zoned: bool,
    headers: Sequence[str],
    titles: Sequence[str],
    logger: Logger | None,
    beside: Sequence[Sequence[str]] = (),
) -> SourceZone:
    """Tell in which zone the clock of a file ran.

    Args:
        declared: The parameter.
        words: Abbreviations behind timestamps.
        all_zoned: Whether every timestamp names its offset.
        headers: What the header says of the columns of the timestamp.
        titles: The lines above the rows.
        logger: What is known of the logger.
        beside: The different texts of each other column.

    Raises:
        DialectError: Where an abbreviation stands for the zone, and none is declared.
    """
    if declared is not None:
        stated = _stated(headers, titles, lenient=True)
        fixed = declared == "UTC" or declared[0] in "+-"
        if fixed and len(words) > 1:
            raise DialectError(
                "timezone",
                f"timestamps name {' and '.join(sorted(words))}, which one offset cannot be",
                _HINT,
            )
        told = f"the header says {stated}, read as declared: {declared}"
        differs = stated is not None and stated != declared
        return SourceZone(declared, "declared", tuple(words), told if differs else "")
    if words:
        raise DialectError(
            "timezone", f"'{min(words)}' behind timestamps may be several zones", _HINT
        )
    if all_zoned:
        return SourceZone("UTC", "timestamps")
    stated = _stated(headers, titles) or _stated_beside(beside)
    if stated is not None:
        return SourceZone(stated, "header")
    named = next((word for text in headers if (word := zone_word(text))), None)
    if named:
        raise DialectError("timezone", f"'{named}' in the header may be several zones", _HINT)
    if logger and logger.timezone:
        return SourceZone(logger.timezone, "logger")
    return SourceZone("UTC", "assumed", problem=ZONE_ASSUMED)


def _stated(headers: Sequence[str], titles: Sequence[str], *, lenient: bool = False) -> str | None:
    zones = known_zones()
    for text in headers:
        offset = stated_offset(text)
        if offset is not None:
            return offset
        if iana := _iana(text, zones):
            return iana
    for title in titles:
        found = _TITLE.search(title)
        text = found["zone"].strip() if found else ""
        offset_of = fixed_offset(text) if text else None
        if offset_of is not None:
            return offset_name(offset_of)
        if iana := _iana(text, zones):
            return iana
        word = zone_word(text)
        if word and not lenient:
            raise DialectError("timezone", f"'{word}' in the header may be several zones", _HINT)
    return None


def _stated_beside(columns: Sequence[Sequence[str]]) -> str | None:
    """The zone in a column of its own, where all its lines say the same."""
    for texts in columns:
        words = [text for text in texts if text in ZONE_WORDS]
        offsets = [text for text in texts if text in {"UTC", "GMT"} or _OFFSET.fullmatch(text)]
        if texts and len(words) + len(offsets) == len(texts):
            if len(offsets) == 1 and not words:
                offset = fixed_offset(offsets[0])
                return None if offset is None else offset_name(offset)
            raise DialectError(
                "timezone", f"a column names zones: {', '.join(sorted(texts)[:5])}", _HINT
            )
    return None


def _iana(text: str, zones: Collection[str]) -> str | None:
    return next((found[0] for found in _IANA.finditer(text) if found[0] in zones), None)
