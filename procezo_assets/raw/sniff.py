"""Lines to dialect: what a raw file shows of how it is written, and what it cannot decide."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import polars as pl

from procezo_assets.errors import DialectError
from procezo_assets.raw import header_csv
from procezo_assets.raw.dialect import Dialect, FixedDialect, OpenedFacts
from procezo_assets.treatments.parse import ParseParameters

Texts = Callable[[], Iterator[pl.Series]]


def sniff(
    texts: Texts,
    opened: OpenedFacts,
    params: ParseParameters,
    *,
    fixed: FixedDialect | None = None,  # noqa: ARG001
) -> Dialect:
    """Tell how a file is written.

    Args:
        texts: Gives the file's lines from the start, a series a block; called again to start over.
        opened: What is known of the file already.
        params: What is declared.
        fixed: What the earlier files of the dataset have settled.

    Raises:
        DialectError: Where the file cannot be read, or could be read in several ways.
    """
    delimiter = params.delimiter or ";"
    zone = params.zone or "UTC"
    if params.format == "kv_csv":
        return Dialect(
            format="kv_csv", delimiter=delimiter, timezone=zone, encoding=opened.encoding
        )
    first = next(iter(texts()), pl.Series([], dtype=pl.String))
    line = next((text for text in first if text.strip()), "")
    names = header_csv.read_header(line, delimiter=delimiter)
    place = header_csv.timestamp_place(names, params.timestamp_column) if names else None
    if names is None or place is None:
        raise DialectError("header", "no header", "set header_row")
    return Dialect(
        format="csv",
        delimiter=delimiter,
        timezone=zone,
        columns=tuple(names),
        timestamp_columns=(place + 1,),
        header_lines=1,
        header_texts=(line,),
    )
