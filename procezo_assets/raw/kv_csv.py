"""The `kv_csv` dialect: a timestamp, then `key:value` fields, one line a row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import polars as pl

from procezo_assets.errors import PartitionError
from procezo_assets.harmless import harmless

KEY_COLUMN_PREFIX = "key:"

# Lines of one signature have the same keys at the same places, so their fields are cut by position.
# The few lines of rare signatures go through one regular expression a key instead.
_SIGNATURES_BY_POSITION = 32

# Of more keys, their expressions take hours to go through lines that are as long.
_KEYS_BY_EXPRESSION = 200

# Each becomes a column of every row of its day: a file of some MB could name a million of them.
_MOST_KEYS = 20_000

# What all lines look like is told by one expression; the automaton of a longer one is slow.
_LONGEST_EXPRESSION = 8000

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


def cut_stamps(lines: pl.Series, *, delimiter: str) -> tuple[pl.Series, pl.Series]:
    """Cut lines at their first delimiter: the timestamp's text and the fields, null without any."""
    width = len(lines.item(0).partition(delimiter)[0]) if len(lines) else 0
    stamps = lines.str.head(width).rename("timestamp")
    alike = (lines.str.slice(width, 1) == delimiter).all() and not stamps.str.contains(
        delimiter, literal=True
    ).any()
    if alike:  # of nearly all files, where cutting by place takes a fifth of the time
        return stamps, lines.str.slice(width + 1)
    cut = lines.str.splitn(delimiter, 2).struct
    return cut.field("field_0").rename("timestamp"), cut.field("field_1")


def field_problems(rest: pl.Series, *, delimiter: str) -> pl.Series:
    """Tell what keeps each line from being a row, its timestamp aside.

    Args:
        rest: The fields of each line.
        delimiter: One character.

    Returns:
        Strings: null, or `no_key_value` where no field is a `key:value`.
    """
    marker = re.escape(delimiter)
    pair = rf"(?:^|{marker})\s*[^\s:{marker}][^:{marker}]*:"
    first = re.match(rf"[^\s:{marker}][^:{marker}]*:", (rest.item(0) or "") if len(rest) else "")
    if first and rest.str.starts_with(first.group()).all(ignore_nulls=False):
        return pl.repeat(None, len(rest), dtype=pl.String, eager=True).rename("problem")
    has_pair = rest.str.contains(pair).fill_null(False)
    return (
        has_pair.to_frame("has_pair")
        .select(problem=pl.when(~pl.col("has_pair")).then(pl.lit("no_key_value")))
        .to_series()
    )


def read_fields(
    lines: pl.Series, *, delimiter: str, type_of: Callable[[str], pl.DataType | None]
) -> tuple[pl.DataFrame, FieldCounts]:
    """Cut lines into the values of the keys that are claimed.

    Args:
        lines: Whole lines, one a row.
        delimiter: One character.
        type_of: Tells what type the values of a key have, and None where no domain takes it.

    Returns:
        A frame of as many rows as lines, with one column `key:<name>` for each claimed key that
        occurs: strings, null where a line lacks it, or numbers of its type where all of its fields
        are plain ones; and what else was met.
    """
    _, rest = cut_stamps(lines, delimiter=delimiter)
    rest = rest.fill_null("")
    alike = _read_alike(rest, delimiter, type_of)
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
            if type_of(key) is not None:
                keys.setdefault(key)
            else:
                counts.unclaimed[key] += number
                del places[key]
        places_of[signature] = places
        refuse_too_many(keys)
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
        cut_rare = _cut_by_expression if len(keys) <= _KEYS_BY_EXPRESSION else _cut_by_pairs
        pieces.append(cut_rare(rare, list(keys), delimiter))
    empty = pl.DataFrame(schema={"row": frame.schema["row"]})
    cut = pl.concat([empty, *pieces], how="diagonal").sort("row").drop("row")
    return cut, counts


def _read_alike(
    rest: pl.Series, delimiter: str, type_of: Callable[[str], pl.DataType | None]
) -> tuple[pl.DataFrame, FieldCounts] | None:
    """Read lines of which all have the keys of the first, at the same places; None of others.

    With the delimiter in the place of each `:` they are CSV, with a key before each value.
    """
    if rest.is_empty() or len(delimiter.encode()) > 1:
        return None
    starts = [
        text[: text.index(":") + 1] if ":" in text else text
        for text in rest.item(0).split(delimiter)
    ]
    if "\n" in "".join(starts) or not _all_alike(rest, starts, delimiter):
        return None
    counts = FieldCounts()
    places = _key_places(delimiter.join(starts), delimiter, len(rest), counts)
    types: dict[int, pl.DataType] = {}
    for key, place in places.items():
        found = type_of(key)
        if found is None:
            counts.unclaimed[key] += len(rest)
        else:
            types[place] = found
    if not types:
        return pl.DataFrame(height=len(rest)), counts
    data = rest.str.join("\n").cast(pl.Binary).item()
    data = data.translate(bytes.maketrans(b":", delimiter.encode()))
    fields = _read_csv(data, delimiter, starts, types)
    if fields.height != len(rest):
        return None
    texts = {
        place: pl.String()
        for place, type_ in types.items()
        if type_.is_numeric() and not _is_plain(fields[str(place)])
    }
    if texts:
        fields = fields.with_columns(_read_csv(data, delimiter, starts, texts))
    named = {key: str(place) for key, place in places.items() if place in types}
    cut = fields.select(pl.col(at).alias(KEY_COLUMN_PREFIX + key) for key, at in named.items())
    return cut, counts


def _all_alike(rest: pl.Series, starts: list[str], delimiter: str) -> bool:
    """Whether all lines have the same keys, whatever their values are."""
    marker = re.escape(delimiter)
    value = rf"[^{marker}:\r\n]*"
    fields = (re.escape(start) + (value if start.endswith(":") else "") for start in starts)
    expression = f"^(?:{marker.join(fields)})$"
    if len(expression) <= _LONGEST_EXPRESSION:
        return bool(rest.str.contains(expression).all())
    return bool((rest.str.replace_all(f":{value}", ":") == delimiter.join(starts)).all())


def _read_csv(
    data: bytes, delimiter: str, starts: list[str], types: Mapping[int, pl.DataType]
) -> pl.DataFrame:
    """Read some of the values as numbers or texts, in columns that are called by their place."""
    schema: dict[str, pl.DataType] = {}
    for place, start in enumerate(starts):
        schema[f"key {place}"] = pl.String()
        if start.endswith(":"):
            schema[str(place)] = types.get(place, pl.String())
    lines = pl.scan_csv(
        b"_" + data,  # bytes that begin as zlib's do would be unpacked
        has_header=False,
        separator=delimiter,
        quote_char=None,
        schema=schema,
        ignore_errors=True,
        # what is no number is null either way, and telling takes time
        empty_string_is_null=any(type_.is_numeric() for type_ in types.values()),
    )
    return lines.select(map(str, types)).collect()


def _is_plain(values: pl.Series) -> bool:
    """Whether fields were read as numbers, each of them."""
    return not values.has_nulls() and bool(values.is_finite().all())


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
    # a frame, as taking one of a thousand fields from a struct takes as long as taking all
    fields = group["rest"].str.split_exact(delimiter, len(texts) - 1).struct.unnest()
    return fields.select(
        group["row"],
        *(
            pl.col(f"field_{place}")
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


def _cut_by_pairs(group: pl.DataFrame, keys: list[str], delimiter: str) -> pl.DataFrame:
    """The same, in a time that grows with the length of the lines alone."""
    pair = pl.col("rest").str.splitn(":", 2).struct
    pairs = (
        group.select("row", pl.col("rest").str.split(delimiter))
        .explode("rest")
        .select(
            "row", key=pair.field("field_0").str.strip_chars(_BLANKS), value=pair.field("field_1")
        )
        .filter(pl.col("value").is_not_null() & pl.col("key").is_in(keys))
        .unique(["row", "key"], keep="last")
        .pivot("key", on_columns=keys, index="row", values="value")
    )
    cut = group.select("row").join(pairs, on="row", how="left", maintain_order="left")
    return cut.rename({key: KEY_COLUMN_PREFIX + key for key in keys})


def refuse_too_many(keys: Collection[str]) -> None:
    """Refuse more columns than a day of a logger can have.

    Raises:
        PartitionError: Names what narrows them.
    """
    if len(keys) > _MOST_KEYS:
        raise PartitionError(
            f"lines of one day have more than {_MOST_KEYS:,} keys that domains take, such as "
            f"{harmless(next(iter(keys))[:40])!r}",
            "let domains take fewer of them, or move the file out of 00_raw",
        )
