"""Lines to dialect: what a raw file shows of how it is written, and what it cannot decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import polars as pl

from procezo_assets.errors import DialectError
from procezo_assets.raw.date_order import ORDERS, OrderEvidence
from procezo_assets.raw.decimals import DecimalEvidence
from procezo_assets.raw.delimited import cut
from procezo_assets.raw.dialect import DateOrder, Dialect, FixedDialect, OpenedFacts
from procezo_assets.raw.header_lines import Line
from procezo_assets.raw.headers import HeaderCell, column_names, read_cell
from procezo_assets.raw.layout import Layout, find_layout
from procezo_assets.raw.loggers import Logger, known_logger
from procezo_assets.raw.source_zone import SourceZone, source_zone
from procezo_assets.raw.stamp_grammar import date_expression, stamp_expression
from procezo_assets.raw.stamps import join_stamp_texts
from procezo_assets.treatments.parse import ParseParameters

Texts = Callable[[], Iterator[pl.Series]]

_SAMPLE_LINES = 2_000
_SAMPLE_CHARACTERS = 1_000_000
_LONGEST_HEADER = 20_000
_MOST_TITLES = 500
_FEW = 4
_ODD_CHARACTERS = 0.1  # a share of what is no text
_SHOWN_CHARACTERS = 60


def sniff(
    texts: Texts,
    opened: OpenedFacts,
    params: ParseParameters,
    *,
    fixed: FixedDialect | None = None,
) -> Dialect:
    """Tell how a file is written.

    Args:
        texts: Gives the file's lines from the start, a series a block; called again to start over.
        opened: What is known of the file already.
        params: What is declared.
        fixed: What the earlier files of the dataset have settled; it decides what this one leaves
            open. Whether what it does say fits is another question: `FixedDialect.misfit`.

    Raises:
        DialectError: Where the file cannot be read, or could be read in several ways.
    """
    if params.format == "kv_csv":
        return Dialect(
            format="kv_csv",
            delimiter=params.delimiter or ";",
            timezone=params.zone or "UTC",
            timezone_from="declared" if params.zone else "assumed",
            encoding=opened.encoding,
            container=opened.container,
            units=params.units,
        )
    sample = first_lines(texts())
    layout = find_layout(sample, params)
    if layout is None:
        raise _unlike_a_table(sample)
    return _Sniffed(texts, opened, params, layout, fixed).dialect()


def _unlike_a_table(sample: Sequence[Line]) -> DialectError:
    """Why a file has no layout."""
    if not sample:
        return DialectError("empty", "it holds no lines")
    text = "".join(line.text for line in sample)
    odd = sum(
        character == "\ufffd" or (character < " " and character != "\t") for character in text
    )
    if odd > _ODD_CHARACTERS * len(text):
        return DialectError(
            "no_text", "it holds no text", "take it out of the folder, or set encoding"
        )
    last = sample[-1].text.strip()
    shown = last if len(last) <= _SHOWN_CHARACTERS else last[:_SHOWN_CHARACTERS] + "…"
    if len(sample) == 1:
        return DialectError(
            "timestamp_columns",
            f"its one line, '{shown}', shows no date and time",
            "wait for its rows, or set timestamp_columns and timestamp_format",
        )
    return DialectError(
        "timestamp_columns",
        f"no column reads as date and time, as in '{shown}'",
        "set timestamp_columns and timestamp_format",
    )


def first_lines(blocks: Iterator[pl.Series]) -> list[Line]:
    """The first lines that are not blank, enough to see how a file is written."""
    found: list[Line] = []
    number, characters = 0, 0
    for block in blocks:
        for text in block.head(_SAMPLE_LINES + number):
            number += 1
            if text.strip():
                found.append(Line(number, text))
                characters += len(text)
            if len(found) >= _SAMPLE_LINES or characters > _SAMPLE_CHARACTERS:
                return found
    return found


class _Stamps(NamedTuple):
    orders: tuple[DateOrder, ...]
    words: tuple[str, ...]
    all_zoned: bool


class _Sniffed:
    """The questions about one csv file, in the order in which they can be answered."""

    def __init__(
        self,
        texts: Texts,
        opened: OpenedFacts,
        params: ParseParameters,
        layout: Layout,
        fixed: FixedDialect | None,
    ) -> None:
        self.texts = texts
        self.opened = opened
        self.params = params
        self.layout = layout
        self.fixed = fixed
        self.orders = OrderEvidence(layout.stamp.style)
        self.decimals = DecimalEvidence(layout.delimiter)
        self.rows = pl.DataFrame(
            {
                str(place): pl.Series(
                    [row[place] if place < len(row) else None for row in layout.rows],
                    dtype=pl.String,
                )
                for place in range(layout.width)
            }
        )

    def dialect(self) -> Dialect:
        layout, params, stamp = self.layout, self.params, self.layout.stamp
        headers = self._headers()
        titles = [line.text for line in layout.header.lines]
        logger = known_logger(titles, headers, layout.rows, stamp)
        names, units = self._names(headers, logger)
        stamps = self._stamps()
        zone = source_zone(
            declared=params.zone,
            words=stamps.words,
            all_zoned=stamps.all_zoned,
            headers=[headers[place] for place in stamp.places],
            titles=titles,
            logger=logger,
            beside=self._few_words(),
        )
        decimal = params.decimal or self.decimals.verdict()
        return Dialect(
            format="csv",
            delimiter=layout.delimiter,
            decimal=decimal,
            encoding=self.opened.encoding,
            container=self.opened.container,
            sheet=self.opened.sheet,
            logger=logger.name if logger else None,
            header_row=self._header_row(),
            header_lines=max((line.number for line in layout.header.lines), default=0),
            header_texts=tuple(
                dict.fromkeys(
                    title
                    for title in self._titles()[-_MOST_TITLES:]
                    if len(title) <= _LONGEST_HEADER and title.strip(layout.delimiter + " \t")
                )
            ),
            columns=tuple(names),
            headers=tuple(headers),
            least_fields=layout.least,
            units=units,
            declared_units=tuple(name for name in units if name in self._declared_units(names)),
            timestamp_columns=tuple(place + 1 for place in stamp.places),
            timestamp_kind=stamp.kind,
            timestamp_parts=stamp.parts,
            timestamp_format=params.timestamp_format,
            date_style=stamp.style,
            date_orders=stamps.orders,
            timezone=zone.name,
            timezone_from=zone.source,
            zone_words=zone.words,
            declared=tuple(sorted(params.model_fields_set & set(_DECLARABLE))),
            problems=tuple(self._problems(zone, names, stamps.orders)),
        )

    def _titles(self) -> list[str]:
        header = self.layout.header
        return [line.text for line in (*header.lines, *filter(None, (header.row,)))]

    def _headers(self) -> list[str]:
        return self._padded(self.layout.header.texts)

    def _padded(self, texts: Sequence[str]) -> list[str]:
        return [texts[place] if place < len(texts) else "" for place in range(self.layout.width)]

    def _header_row(self) -> int:
        header = self.layout.header
        return header.row.number if header.row else 0

    def _names(
        self, headers: Sequence[str], logger: Logger | None
    ) -> tuple[list[str], dict[str, str]]:
        cells = [read_cell(text) for text in headers]
        if self.params.columns:
            declared = self._padded(self.params.columns)
            units_of = [cell.unit if self.layout.header.row else "" for cell in cells]
            told = zip(declared, units_of, strict=True)
            cells = [HeaderCell(name, name, unit) for name, unit in told]
        if logger and logger.columns and not any(headers):
            cells = [HeaderCell(name, name, logger.units.get(name, "")) for name in logger.columns]
            cells += [HeaderCell("", "", "")] * (len(headers) - len(cells))
        names = column_names(cells)
        if self.fixed is not None and self._continues(self.fixed):
            return list(self.fixed.columns), {**self.fixed.units, **self.params.units}
        if self.fixed is not None and not self.params.columns:
            names = _as_settled(names, cells, self.fixed.names)
        units = {
            name: self.layout.header.units.get(place) or cell.unit
            for place, (name, cell) in enumerate(zip(names, cells, strict=True))
            if place not in self.layout.stamp.places
        }
        units = {name: unit for name, unit in units.items() if unit}
        return names, units | self._declared_units(names)

    def _declared_units(self, names: Sequence[str]) -> dict[str, str]:
        """The declared units by the names of columns; they may be declared by the whole header."""
        given = self.params.units
        told = {
            n: given.get(n) or given.get(h) for n, h in zip(names, self._headers(), strict=True)
        }
        return {name: unit for name, unit in told.items() if unit is not None}

    def _continues(self, fixed: FixedDialect) -> bool:
        """Whether the file has no header, but the columns of its dataset's other files."""
        return (
            fixed.has_header
            and not self.params.columns
            and self.layout.header.row is None
            and len(fixed.columns) == self.layout.width
            and fixed.timestamp_columns == tuple(place + 1 for place in self.layout.stamp.places)
        )

    def _few_words(self) -> list[list[str]]:
        """The different texts of columns that have few: one may hold the zone."""
        values = self._values(self.rows)
        few = [column for column in values if column.n_unique() <= _FEW]
        return [sorted(set(column.drop_nulls().to_list()) - {""}) for column in few]

    def _stamps(self) -> _Stamps:
        """What the timestamps of the first lines say; where that decides nothing, the others."""
        stamp = self.layout.stamp
        places = [str(place) for place in stamp.places]
        self.decimals.add(self._values(self.rows))
        if stamp.kind != "text":
            self._look_on()
            return _Stamps(("YMD",), (), all_zoned=stamp.kind.startswith("epoch"))
        texts = join_stamp_texts(self.rows.select(places), stamp.parts, stamp.style).drop_nulls()
        self.orders.add(self._dates(texts))
        self._look_on()
        words: set[str] = set()
        zoned = pl.Series([False] * len(texts))
        for order in ORDERS:
            groups = texts.str.extract_groups(stamp_expression(stamp.style, order)).struct.unnest()
            *_, utc, sign, _, _, word = groups.get_columns()
            words.update(word.drop_nulls().unique().to_list())
            zoned |= utc.is_not_null() | sign.is_not_null()
        declared = self.params.date_order
        allowed = self.fixed.date_orders if self.fixed else ORDERS
        orders = self.orders.declared(declared) if declared else self.orders.verdict(allowed)
        return _Stamps(orders, tuple(sorted(words)), all_zoned=bool(zoned.all()))

    def _dates(self, texts: pl.Series) -> list[str]:
        either = "|".join(
            date_expression(self.layout.stamp.style, order)
            .replace("(", "(?:")
            .replace("(?:?:", "(?:")
            for order in ORDERS
        )
        # a year of four digits must not be read as one of two
        behind = "" if self.layout.stamp.style.endswith("digits") else "(?:[^0-9]|$)"
        found = texts.str.extract(f"^((?i:{either})){behind}", 1).unique(maintain_order=True)
        return found.drop_nulls().to_list()

    def _values(self, fields: pl.DataFrame) -> pl.DataFrame:
        places = {str(place) for place in self.layout.stamp.places}
        return fields.select(name for name in fields.columns if name not in places)

    def _look_on(self) -> None:
        """Read on until date order and decimal sign are decided, or the file ends."""
        stamp, params = self.layout.stamp, self.params
        order_open = stamp.kind == "text" and not self.orders.decided and not params.date_order
        # without quotes, no field holds the delimiter
        decimal_open = params.decimal is None and not self.decimals.decided
        if not order_open and not decimal_open:
            return
        wanted = range(self.layout.width) if decimal_open else stamp.places
        for block in self.texts():
            fields, problems = cut(
                block,
                delimiter=self.layout.delimiter,
                places=list(wanted),
                width=self.layout.width,
                least=self.layout.least,
            )
            fields = fields.filter(problems.is_null())
            if order_open:
                places = [str(place) for place in stamp.places]
                stamps = join_stamp_texts(fields.select(places), stamp.parts, stamp.style)
                self.orders.add(self._dates(stamps.drop_nulls()))
            if decimal_open:
                self.decimals.add(self._values(fields))
            if not (order_open and not self.orders.decided) and not (
                decimal_open and not self.decimals.decided
            ):
                return

    def _problems(
        self, zone: SourceZone, names: Sequence[str], orders: Sequence[DateOrder]
    ) -> Iterator[str]:
        stamp, header, declared = self.layout.stamp, self.layout.header, self.params.date_order
        yield from filter(None, (zone.problem, header.problem))
        if declared and stamp.kind == "text" and declared not in orders:
            yield f"dates are written {orders[0]}, and cannot be read as declared: {declared}"
        if self.fixed is not None and self._continues(self.fixed):
            yield "it has no header: its columns are taken to be those of the dataset's other files"
        if stamp.others:
            others = ", ".join(f"'{names[place]}'" for place in stamp.others)
            yield (
                f"'{names[stamp.places[0]]}' is taken as the timestamp; date and time are in "
                f"{others} too: set timestamp_columns to choose"
            )


def _as_settled(
    names: Sequence[str], cells: Sequence[HeaderCell], settled: Mapping[str, str]
) -> list[str]:
    """Call columns as the dataset's other files do, whatever else this one has beside them."""
    wished = [settled.get(cell.longer, name) for name, cell in zip(names, cells, strict=True)]
    return list(names) if len(set(map(str.casefold, wished))) < len(wished) else wished


_DECLARABLE = (
    "delimiter",
    "decimal",
    "header_row",
    "columns",
    "timestamp_columns",
    "timestamp_column",
    "timestamp_format",
    "date_order",
    "timezone",
    "tz",
    "units",
)
