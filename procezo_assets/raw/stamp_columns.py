"""Which columns of a csv file hold the timestamp, and how it is written there."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from procezo_assets.errors import DialectError, did_you_mean
from procezo_assets.raw.date_order import ORDERS, readings
from procezo_assets.raw.dialect import TimestampKind, without_zone
from procezo_assets.raw.headers import read_cell
from procezo_assets.raw.stamp_grammar import DOTTED_TIME, stamp_expression, time_expression
from procezo_assets.raw.stamp_parts import is_part, names_part
from procezo_assets.treatments.parse import ParseParameters

# A column is one of timestamps where this part of its lines reads as some; others are damaged.
_ENOUGH = 0.5
_NEARLY_ALL = 0.9  # where a number could be a value as well
_STYLES = ("-", "/", ".", "name")
_COMPACT = ("8digits", "6digits")
_STAMP_TEXTS = {
    style: [re.compile(stamp_expression(style, order)) for order in ORDERS]
    for style in (*_STYLES, *_COMPACT)
}
_TIME = re.compile(time_expression())
_DOTTED_TIME = re.compile(r"[0-9]{1,2}\.[0-9]{2}(?: ?[AaPp][Mm])?")
_EPOCHS: dict[TimestampKind, re.Pattern[str]] = {
    "epoch_s": re.compile(r"[0-9]{9,10}(?:[.,][0-9]+)?"),
    "epoch_ms": re.compile(r"[0-9]{12,13}(?:[.,][0-9]+)?"),
    "epoch_us": re.compile(r"[0-9]{15,16}"),
}
_EPOCH_RANGE = (631_152_000, 4_102_444_800)  # 1990 to 2100
_TICKS = {"epoch_s": 1, "epoch_ms": 1_000, "epoch_us": 1_000_000}
_NAMED_TIME = re.compile(
    r"time|zeit|heure|hora|\bora\b|\btid\b|uhr|hhmm|date|datum|fecha|\bdata\b|jour|stamp|epoch|unix"
    r"|\bts\b|\butc\b|\bdt\b|dato|yyyy",
    re.IGNORECASE,
)
_BEGINS_WITH_DIGIT = re.compile(r"[-+.]?[0-9]")
_BEGINS_AS_TIME = re.compile(r"[0-9]{1,2}(?::|[.h][0-9]{2}[.:m])[0-9]{2}")
_HALVES = re.compile(r"[AaPp]\.?[Mm]\.?")
_LINES = 100


class StampColumns(NamedTuple):
    """Where the timestamp is.

    Args:
        places: Of its columns, from 0.
        kind: As `Dialect.timestamp_kind`.
        parts: As `Dialect.timestamp_parts`.
        style: As `Dialect.date_style`.
        others: Places of further columns that hold date and time.
        untimed: Whether it is a date alone.
    """

    places: tuple[int, ...]
    kind: TimestampKind = "text"
    parts: str = "*"
    style: str = "-"
    others: tuple[int, ...] = ()
    untimed: bool = False

    @property
    def vague(self) -> bool:
        """Whether it is a date alone or a number, which a wrong delimiter may leave too."""
        return self.kind.startswith("epoch") or (self.kind == "text" and self.untimed)


def names_time(text: str) -> bool:
    """Tell whether a header text speaks of date or time."""
    return _NAMED_TIME.search(text) is not None


def find_stamp_columns(
    rows: Sequence[Sequence[str]], names: Sequence[str], params: ParseParameters
) -> StampColumns | None:
    """Find the columns of the timestamp.

    The first column of date and time; else one of the date and one of the time; else columns named
    year, month, day and so on; else one of numbers since 1970; else one of the date.

    Args:
        rows: Trimmed fields of lines that have as many.
        names: What the header says of each place, as far as there is one.
        params: What is declared.

    Raises:
        DialectError: Where declared columns are not there or do not read as timestamps.
    """
    declared = _declared_places(rows, names, params)
    if declared is not None:
        return _read_declared(rows, names, declared, params)
    if params.timestamp_format:
        raise DialectError(
            "timestamp_columns",
            "timestamp_format is declared, but not of which columns",
            "set timestamp_columns",
        )
    columns = _Columns(rows, names)
    return (
        columns.date_and_time()
        or columns.date_beside_time()
        or columns.parts()
        or columns.epoch()
        or columns.date_only()
    )


def _declared_places(
    rows: Sequence[Sequence[str]], names: Sequence[str], params: ParseParameters
) -> tuple[int, ...] | None:
    wanted = params.timestamp_columns
    if wanted is None and params.timestamp_column is not None:
        wanted = (params.timestamp_column,)
    if wanted is None:
        return None
    width = max((len(row) for row in rows), default=len(names))
    places: list[int] = []
    short = [without_zone(read_cell(name).name) for name in names]
    for column in wanted:
        if isinstance(column, int):
            if not 1 <= column <= width:
                raise DialectError(
                    "timestamp_columns", f"there is no column {column}, but {width} of them"
                )
            places.append(column - 1)
        elif column in names:
            places.append(list(names).index(column))
        elif column in short:
            places.append(short.index(column))
        else:
            raise DialectError(
                "timestamp_columns",
                f"the header has no column '{column}'",
                did_you_mean(str(column), [name for name in names if name]),
            )
    return tuple(places)


def _read_declared(
    rows: Sequence[Sequence[str]],
    names: Sequence[str],
    places: tuple[int, ...],
    params: ParseParameters,
) -> StampColumns | None:
    if params.timestamp_format:
        return StampColumns(places, "format")
    only = _Columns(
        [[row[place] for place in places] for row in rows],
        [names[place] if place < len(names) else "" for place in places],
    )
    found = only.date_and_time() or only.date_beside_time() or only.parts() or only.epoch()
    found = found or only.date_only()
    if found is None or len(found.places) != len(places):
        return None
    return found._replace(places=tuple(places[place] for place in found.places), others=())


class _Columns:
    """Some lines by column."""

    def __init__(self, rows: Sequence[Sequence[str]], names: Sequence[str]) -> None:
        step = max(1, len(rows) // _LINES)
        # a line of names alone is a header; it speaks neither for nor against
        chosen = [row for row in rows[::step] if any(_BEGINS_WITH_DIGIT.match(f) for f in row)]
        self.rows = chosen or list(rows[::step])
        self.width = max((len(row) for row in self.rows), default=0)
        self.names = [names[place] if place < len(names) else "" for place in range(self.width)]

    def texts(self, place: int) -> list[str]:
        return [row[place] for row in self.rows if place < len(row)]

    def share(self, place: int, fits: Callable[[str], object]) -> float:
        """The part of all lines whose field fits."""
        return sum(bool(fits(text)) for text in self.texts(place)) / max(1, len(self.rows))

    def first(self, fits: Callable[[str], object], *, least: float = _ENOUGH) -> list[int]:
        return [place for place in range(self.width) if self.share(place, fits) >= least]

    def date_and_time(self) -> StampColumns | None:
        for style in (None, *_COMPACT):
            styles = _STYLES if style is None else (style,)
            least = _ENOUGH if style is None else _NEARLY_ALL
            places = self.first(_stamps_of(styles, timed=True), least=least)
            if places:
                named = [place for place in places if self.names[place] == "ts"]
                place = (named or places)[0]
                self._refuse_either(place, style)
                others = tuple(other for other in places if other != place)
                return self._with_half(self._text_column(place, styles, others))
        return None

    def _refuse_either(self, place: int, style: str | None) -> None:
        """Twelve digits may begin with a year of four or of two."""
        texts = self.texts(place)
        if style == "8digits" and all(_stamp_style(t, ("6digits",), timed=True) for t in texts):
            raise DialectError(
                "timestamp_columns",
                f"'{texts[0]}' could begin with a year of four digits or of two",
                "set timestamp_columns and timestamp_format, such as %Y%m%d%H%M or %y%m%d%H%M%S",
            )

    def _text_column(
        self, place: int, styles: Sequence[str], others: tuple[int, ...] = ()
    ) -> StampColumns:
        met = [_stamp_style(text, styles, timed=None) for text in self.texts(place)]
        style = max(styles, key=met.count)
        return StampColumns((place,), "text", "*", style, others)

    def _dates(self) -> list[tuple[int, str]]:
        """Columns of dates, and their style."""
        found = [
            (place, style)
            for style in _STYLES
            for place in self.first(_stamps_of((style,), timed=False))
        ]
        compact = [
            (place, "8digits")
            for place in self.first(_stamps_of(("8digits",), timed=False), least=_NEARLY_ALL)
        ]
        short = [
            (place, "6digits")
            for place in self.first(_stamps_of(("6digits",), timed=False), least=_NEARLY_ALL)
            if _NAMED_TIME.search(self.names[place])
        ]
        # 10.03.12 may be a time as well; a column that cannot be one comes first
        return sorted(
            sorted(found) + compact + short,
            key=lambda one: self.share(one[0], _TIME.fullmatch) >= _ENOUGH,
        )

    def date_beside_time(self) -> StampColumns | None:
        dates = self._dates()
        if not dates:
            return None
        place, style = dates[0]
        taken = {at for at, _ in dates}
        nearest = sorted(
            set(range(self.width)) - taken | ({at for at, _ in dates[1:]}),
            key=lambda at: (at not in (place + 1, place - 1), at < place, at),
        )
        for at in nearest:
            if (
                self.share(
                    at,
                    lambda text: (
                        _TIME.fullmatch(text) is not None
                        and (":" in text or text.count(".") > 1 or "h" in text.lower())
                    ),
                )
                >= _ENOUGH
            ):
                return self._with_half(StampColumns((place, at), "text", "**", style))
            named = _NAMED_TIME.search(self.names[at])
            if named and self.share(at, lambda t: bool(_DOTTED_TIME.fullmatch(t))) >= _NEARLY_ALL:
                return StampColumns((place, at), "text", "**", style)
            if (named or style in _COMPACT) and self.share(
                at, lambda t: _digits(t, 6)
            ) >= _NEARLY_ALL:
                return StampColumns((place, at), "text", "*T", style)
        after = self._after(place)
        return after and StampColumns((place, *after[0]), "text", "*" + after[1], style)

    def _with_half(self, found: StampColumns) -> StampColumns:
        """A column of AM and PM belongs to the time before it."""
        at = found.places[-1] + 1
        if at < self.width and self.share(at, _HALVES.fullmatch) >= _NEARLY_ALL:
            return found._replace(places=(*found.places, at), parts=found.parts + "*")
        return found

    def _after(self, place: int) -> tuple[tuple[int, ...], str] | None:
        """Columns of hours, minutes and seconds, or of HHMM, right behind a date."""
        if place + 1 >= self.width:
            return None
        if self._has_role(place + 1, "t"):
            return (place + 1,), "t"
        places: list[int] = []
        for role in "hms":
            if self._has_role(place + 1 + len(places), role):
                places.append(place + 1 + len(places))
            else:
                break
        return (tuple(places), "hms"[: len(places)]) if places else None

    def parts(self) -> StampColumns | None:
        """A column each of year, month, day and so on, side by side."""
        years = [place for place in range(self.width) if self._has_role(place, "Y")]
        for year in years:
            found = {"Y": year}
            for step in (1, -1):
                place = year + step
                while 0 <= place < self.width:
                    wanted = [r for r in "MDjhmst" if r not in found and self._has_role(place, r)]
                    if not wanted:
                        break
                    found[wanted[0]] = place
                    place += step
            if {"M", "D"} <= set(found) or "j" in found:
                if "j" in found and {"M", "D"} <= set(found):
                    del found["j"]
                return StampColumns(tuple(found.values()), "parts", "".join(found))
        return None

    def _has_role(self, place: int, role: str) -> bool:
        if place >= self.width:
            return False
        if not names_part(self.names[place], role):
            return False
        if self.share(place, lambda text: is_part(text, role)) < _NEARLY_ALL:
            return False
        # of a `time` of 0 to 23, nothing says whether these are hours or minutes
        return role != "t" or any(len(text) > 2 for text in self.texts(place))  # noqa: PLR2004

    def epoch(self) -> StampColumns | None:
        for place in range(self.width):
            texts = self.texts(place)
            for kind, pattern in _EPOCHS.items():

                def fits(text: str, pattern: re.Pattern[str] = pattern, kind: str = kind) -> bool:
                    if not pattern.fullmatch(text):
                        return False
                    whole = int(re.split("[.,]", text)[0]) / _TICKS[kind]
                    return _EPOCH_RANGE[0] <= whole <= _EPOCH_RANGE[1]

                if self.share(place, fits) < _NEARLY_ALL:
                    continue
                rising = len(set(texts)) > 1 and texts == sorted(texts)
                if _NAMED_TIME.search(self.names[place]) or rising or place == 0:
                    return StampColumns((place,), kind)
        return None

    def date_only(self) -> StampColumns | None:
        dates = self._dates()
        if not dates:
            return None
        place, style = dates[0]
        if self.width > place + 1 and (
            self.share(place + 1, _BEGINS_AS_TIME.match) >= _ENOUGH
            or names_part(self.names[place + 1], "t")
        ):
            return None  # a time that is not understood: without it, rows would be wrong
        return StampColumns((place,), "text", "*", style, untimed=True)


def _stamps_of(styles: Sequence[str], *, timed: bool) -> Callable[[str], object]:
    return lambda text: _stamp_style(text, styles, timed=timed)


def _stamp_style(text: str, styles: Sequence[str], *, timed: bool | None) -> str | None:
    """The style of a date, with a time behind it or not; None where it is not of the calendar."""
    if len(text) < 6 or not any(map(str.isdigit, text)):  # noqa: PLR2004 - the shortest date
        return None
    for style in styles:
        if style in _COMPACT:
            text = re.sub(DOTTED_TIME, r" \1:\2:\3", text)
        for order, pattern in zip(ORDERS, _STAMP_TEXTS[style], strict=True):
            match = pattern.match(text)
            if match is None:
                continue
            if timed is not None and timed != (match.group(4) is not None):
                continue
            if style == "6digits" and timed and match.group(5) is None:
                continue  # eight digits are a date of four more likely than a date and an hour
            date = _date_of(match)
            if order in readings(date, style) and _hours_fit(match):
                return style
    return None


def _date_of(match: re.Match[str]) -> str:
    return match.string[: match.end(3)]


def _hours_fit(match: re.Match[str]) -> bool:
    hour, minute, second = (int(part or 0) for part in match.group(4, 5, 6))
    return hour <= 24 and minute < 60 and second < 60  # noqa: PLR2004 - a clock


def _digits(text: str, number: int) -> bool:
    if len(text) != number or not text.isdecimal():
        return False
    hour, minute, second = int(text[:2]), int(text[2:4]), int(text[4:6] or 0)
    return hour <= 24 and minute < 60 and second < 60  # noqa: PLR2004 - a clock
