"""The raw rows of one device-day to frames: the first stage of a partition, counted and named.

What belongs here: what `parse` is given and what its result says of it. What does not: reading raw
files (`raw/`), and when a day is read, left alone or written (`pipeline.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from procezo_assets.harmless import harmless
from procezo_assets.ledger import Ledger
from procezo_assets.raw.device_day import DeviceDay
from procezo_assets.raw.kv_csv import KEY_COLUMN_PREFIX
from procezo_assets.stores.parquet import Counts
from procezo_assets.treatments.model import Treatment
from procezo_assets.treatments.parse import ParseParameters
from procezo_assets.treatments.treated import Treated

NULL_VALUE = "null_value"

_KEYS_NAMED = 20
_KEY_SHOWN = 100


@dataclass(frozen=True)
class Parsed:
    """One domain of a device-day.

    Args:
        frame: `ts`, then its columns.
        counts: What became of the device-day's rows and of this domain's fields.
        units: Unit by column, where one is known.
    """

    frame: pl.DataFrame = field(repr=False)
    counts: Counts
    units: dict[str, str]


def parse_device_day(
    device: str,
    device_day: DeviceDay,
    treatment: Treatment,
    params: ParseParameters,
    ledger: Ledger,
) -> dict[str, Parsed]:
    """Read the fields of a device-day as typed columns, by domain.

    Args:
        device: The logger that wrote it.
        device_day: Its rows, of texts or plain numbers.
        treatment: The one that reads them.
        params: Its parameters.
        ledger: Takes the counts, and is out of balance where a field is not accounted for.
    """
    rows = device_day.rows
    treated = {
        domain: _with_null_values(result, device_day.fields.nulls, params, domain)
        for domain, result in treatment.function(rows, params).items()
    }
    _enter(ledger, device, device_day, treated)
    return {
        domain: Parsed(
            frame=result.frames[None],
            counts=_counts(rows, result),
            units=_units(device_day.units, params, domain, result.frames[None].columns),
        )
        for domain, result in treated.items()
    }


def field_warnings(device: str, device_day: DeviceDay) -> Iterator[str]:
    """What a person should know of the fields of a device-day, a sentence each."""
    met = device_day.fields
    if met.unclaimed:
        some = sorted(met.unclaimed.items())[:_KEYS_NAMED]
        named = ", ".join(f"{harmless(key[:_KEY_SHOWN])} ({count})" for key, count in some)
        more = len(met.unclaimed) - len(some)
        yield f"{device}: keys that no domain takes: {named}" + (
            f" and {more} more" if more > 0 else ""
        )
    if met.repeated:
        some_keys = "key" if met.repeated == 1 else "keys"
        yield f"{device}: {met.repeated} repeated {some_keys} in a line, the last of each was taken"
    if met.without_colon:
        some_fields = "field" if met.without_colon == 1 else "fields"
        yield f"{device}: {met.without_colon} {some_fields} without a colon"


def _with_null_values(
    treated: Treated, nulls: Mapping[str, int], params: ParseParameters, domain: str
) -> Treated:
    """Count fields that stand for no value, which were null before the treatment saw them."""
    claimed = params.domains[domain]
    counts = {
        claimed.column_of(key): count
        for key, count in sorted(nulls.items())
        if params.domain_of(key) == domain
    }
    if not counts:
        return treated
    return replace(treated, values_removed={**treated.values_removed, NULL_VALUE: counts})


def _enter(
    ledger: Ledger, device: str, device_day: DeviceDay, treated: Mapping[str, Treated]
) -> None:
    """Hold `parse` to the law: the fields of claimed keys are values, or counted with a reason."""
    rows = device_day.rows
    fields = device_day.fields.nulls.total() + sum(
        rows[column].count() for column in rows.columns if column.startswith(KEY_COLUMN_PREFIX)
    )
    ledger.rows_in += rows.height
    ledger.rows_out += rows.height
    ledger.values_in += fields
    made = 0
    for domain, result in treated.items():
        frame = result.frames[None]
        values, removed = ledger.enter_parsed(result)
        made += values + removed
        if frame.height != rows.height:
            ledger.imbalances.append(
                f"{device} {domain}: {frame.height} rows out, {rows.height} accounted for"
            )
    if made != fields:
        ledger.imbalances.append(f"{device}: {fields} values in, {made} accounted for")


def _counts(rows: pl.DataFrame, parsed: Treated) -> Counts:
    """The counts of one domain of a device-day."""
    counts = Ledger(rows_in=rows.height, rows_out=parsed.frames[None].height)
    values, removed = counts.enter_parsed(parsed)
    counts.values_in = values + removed
    return counts.counts()


def _units(
    units: Mapping[str, str], params: ParseParameters, domain: str, columns: Collection[str]
) -> dict[str, str]:
    claimed = params.domains[domain]
    named = {
        claimed.column_of(key): unit
        for key, unit in units.items()
        if params.domain_of(key) == domain
    }
    return {column: named[column] for column in columns if column in named}
