"""The `kv_csv` dialect: a timestamp, then `key:value` fields, one line a row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import polars as pl

KEY_COLUMN_PREFIX = "key:"

# Lines of one signature have the same keys at the same places, so their fields are cut by position.
# The few lines of rare signatures go through one regular expression a key instead.
_SIGNATURES_BY_POSITION = 32

# What `\s` of the expressions is; Python's own str.strip() also takes the separators 1C to 1F.
_BLANKS = "".join(
    character for character in map(chr, range(0x3001)) if re.fullmatch(r"[^\S\x1c-\x1f]", character)
)


@dataclass
class FieldCounts:
    """What was met in the fields of some lines.

    Args:
        without_colon: Fields that are no `key:value`.
        repeated: Fields whose key the line has again later (the last wins).
        unclaimed: Fields by key that no domain claims.
        nulls: Fields by key that stand for no value.
    """

    without_colon: int = 0
    repeated: int = 0
    unclaimed: Counter[str] = field(default_factory=Counter)
    nulls: Counter[str] = field(default_factory=Counter)

    def add(self, other: FieldCounts) -> None:
        """Add the counts of more lines."""
        self.without_colon += other.without_colon
        self.repeated += other.repeated
        self.unclaimed.update(other.unclaimed)
        self.nulls.update(other.nulls)


def timestamp_texts(lines: pl.Series, *, delimiter: str) -> pl.Series:
    """Cut the text before the first delimiter off each line."""
    return lines.str.splitn(delimiter, 2).struct.field("field_0").rename("timestamp")


def line_problems(lines: pl.Series, *, delimiter: str) -> pl.Series:
    """Tell what keeps each line from being a row, its timestamp aside.

    Returns:
        Strings: null, or `no_key_value` where no field is a `key:value`.
    """
    rest = lines.str.splitn(delimiter, 2).struct.field("field_1")
    pair = (
        rf"(?:^|{re.escape(delimiter)})\s*[^\s:{re.escape(delimiter)}][^:{re.escape(delimiter)}]*:"
    )
    has_pair = rest.str.contains(pair).fill_null(False)
    return (
        has_pair.to_frame("has_pair")
        .select(problem=pl.when(~pl.col("has_pair")).then(pl.lit("no_key_value")))
        .to_series()
    )


def read_fields(
    lines: pl.Series, *, delimiter: str, claimed: Callable[[str], bool]
) -> tuple[pl.DataFrame, FieldCounts]:
    """Cut lines into the values of the keys that are claimed.

    Args:
        lines: Whole lines, one a row.
        delimiter: One character.
        claimed: Tells whether a domain takes a key.

    Returns:
        A frame of as many rows as lines, with one string column `key:<name>` for each claimed key
        that occurs, null where a line lacks it; and what else was met.
    """
    rest = lines.str.splitn(delimiter, 2).struct.field("field_1").fill_null("")
    alike = _read_alike(rest, delimiter, claimed)
    if alike is not None:
        return alike
    frame = rest.alias("rest").to_frame().with_row_index("row")
    marker = re.escape(delimiter)
    frame = frame.with_columns(
        signature=pl.col("rest").str.replace_all(f":[^{marker}]*", ":").cast(pl.Categorical)
    )
    tallies = frame.group_by("signature").len().sort("len", "signature", descending=True)
    counts = FieldCounts()
    places_of: dict[str, dict[str, int]] = {}
    keys: dict[str, None] = {}
    for signature, number in tallies.select(pl.col("signature").cast(pl.String), "len").rows():
        places = _key_places(signature, delimiter, number, counts)
        for key in list(places):
            if claimed(key):
                keys.setdefault(key)
            else:
                counts.unclaimed[key] += number
                del places[key]
        places_of[signature] = places
    frequent = list(places_of)[:_SIGNATURES_BY_POSITION]
    pieces = [
        _cut_by_position(
            frame.filter(pl.col("signature") == signature),
            signature,
            places_of[signature],
            delimiter,
        )
        for signature in frequent
    ]
    rare = frame.filter(~pl.col("signature").cast(pl.String).is_in(frequent))
    if rare.height:
        pieces.append(_cut_by_expression(rare, list(keys), delimiter))
    empty = pl.DataFrame(schema={"row": frame.schema["row"]})
    cut = pl.concat([empty, *pieces], how="diagonal").sort("row").drop("row")
    return cut, counts


def _read_alike(
    rest: pl.Series, delimiter: str, claimed: Callable[[str], bool]
) -> tuple[pl.DataFrame, FieldCounts] | None:
    """Read lines of which all have the keys of the first, at the same places; None of others."""
    if rest.is_empty():
        return None
    starts = [
        text[: text.index(":") + 1] if ":" in text else text for text in rest[0].split(delimiter)
    ]
    fields = rest.str.split_exact(delimiter, len(starts)).struct
    columns = [fields.field(f"field_{place}") for place in range(len(starts))]
    is_alike = fields.field(f"field_{len(starts)}").null_count() == len(rest) and all(
        (column.str.starts_with(start) if start.endswith(":") else column == start).all(
            ignore_nulls=False
        )
        for column, start in zip(columns, starts, strict=True)
    )
    if not is_alike:
        return None
    counts = FieldCounts()
    places = _key_places(delimiter.join(starts), delimiter, len(rest), counts)
    chosen: list[pl.Series] = []
    for key, place in places.items():
        if claimed(key):
            values = columns[place].str.slice(len(starts[place]))
            chosen.append(values.alias(KEY_COLUMN_PREFIX + key))
        else:
            counts.unclaimed[key] += len(rest)
    return pl.DataFrame(chosen), counts


def _key_places(signature: str, delimiter: str, number: int, counts: FieldCounts) -> dict[str, int]:
    """Find at which field each key of a signature stands last; count what is odd."""
    places: dict[str, int] = {}
    for place, text in enumerate(signature.split(delimiter)):
        key, colon, _ = text.partition(":")
        key = key.strip(_BLANKS)
        if not key or not colon:
            counts.without_colon += number if text.strip(_BLANKS) else 0
            continue
        counts.repeated += number if key in places else 0
        places[key] = place
    return places


def _cut_by_position(
    group: pl.DataFrame, signature: str, places: dict[str, int], delimiter: str
) -> pl.DataFrame:
    texts = signature.split(delimiter)
    fields = group["rest"].str.split_exact(delimiter, len(texts) - 1).struct
    return group.select(
        "row",
        *(
            fields.field(f"field_{place}")
            .str.slice(texts[place].index(":") + 1)
            .alias(KEY_COLUMN_PREFIX + key)
            for key, place in places.items()
        ),
    )


def _cut_by_expression(group: pl.DataFrame, keys: list[str], delimiter: str) -> pl.DataFrame:
    marker = re.escape(delimiter)
    return group.select(
        "row",
        *(
            pl.col("rest")
            # greedy to the last field of that key; (?s) as a stray CR is no line end here
            .str.extract(rf"(?s)^(?:.*{marker})?\s*{re.escape(key)}\s*:([^{marker}]*)")
            .alias(KEY_COLUMN_PREFIX + key)
            for key in keys
        ),
    )
