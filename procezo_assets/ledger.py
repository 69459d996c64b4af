"""The conservation law of a treatment: every row and value in is a row or value out, or counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from procezo_assets.stores.parquet import Counts
from procezo_assets.treatments.treated import UNCOUNTED, Treated, value_counts


@dataclass
class Ledger:
    """Counts of one stage of one partition, over all its frames.

    Args:
        rows_in: Rows that came in.
        rows_out: Rows that went out.
        values_in: Values (not null) that came in.
        values_out: Values that went out.
        rows_removed: Rows dropped, by reason.
        rows_added: Rows made, by reason.
        values_removed: Values turned to null, by reason and column.
        values_added: Values made, by reason and column.
        imbalances: Where the law does not hold, a sentence each.
    """

    rows_in: int = 0
    rows_out: int = 0
    values_in: int = 0
    values_out: int = 0
    rows_removed: Counter[str] = field(default_factory=Counter)
    rows_added: Counter[str] = field(default_factory=Counter)
    values_removed: dict[str, Counter[str]] = field(default_factory=dict)
    values_added: dict[str, Counter[str]] = field(default_factory=dict)
    imbalances: list[str] = field(default_factory=list)

    @property
    def balanced(self) -> bool:
        """Whether every row and value is accounted for."""
        return not self.imbalances

    def removed_by_reason(self) -> dict[str, int]:
        """Values turned to null, by reason; reasons without any are left out."""
        return _totals(self.values_removed)

    def added_by_reason(self) -> dict[str, int]:
        """Values made, by reason; reasons without any are left out."""
        return _totals(self.values_added)

    def counts(self) -> Counts:
        """The counts as JSON, for a file's footer: a function of what the file was made from."""
        return {
            "rows_in": self.rows_in,
            "rows_out": self.rows_out,
            "rows_removed": dict(self.rows_removed),
            "rows_added": dict(self.rows_added),
            "values_in": self.values_in,
            "values_out": self.values_out,
            "values_removed": {name: dict(found) for name, found in self.values_removed.items()},
            "values_added": {name: dict(found) for name, found in self.values_added.items()},
        }

    def add(self, counts: Mapping[str, Any]) -> None:
        """Add the counts of another part of the partition, as `counts` gives them."""
        self.rows_in += counts["rows_in"]
        self.rows_out += counts["rows_out"]
        self.values_in += counts["values_in"]
        self.values_out += counts["values_out"]
        self.rows_removed.update(counts["rows_removed"])
        self.rows_added.update(counts["rows_added"])
        _enter_values(self.values_removed, counts["values_removed"])
        _enter_values(self.values_added, counts["values_added"])

    def enter(self, name: str, before: pl.DataFrame, treated: Treated) -> None:
        """Enter what a treatment made of one frame, and hold it to the law.

        Args:
            name: The frame, for the sentences of `imbalances`.
            before: What it was given.
            treated: What it handed back.
        """
        counts_in = value_counts(before)
        self.rows_in += before.height
        self.values_in += sum(counts_in.values())
        self.rows_removed.update(_positive(treated.rows_removed))
        self.rows_added.update(_positive(treated.rows_added))
        _enter_values(self.values_removed, treated.values_removed)
        _enter_values(self.values_added, treated.values_added)
        rows_out = sum(frame.height for frame in treated.frames.values())
        self.rows_out += rows_out
        expected = (
            before.height - sum(treated.rows_removed.values()) + sum(treated.rows_added.values())
        )
        if rows_out != expected:
            self.imbalances.append(f"{name}: {rows_out} rows out, {expected} accounted for")
        outputs = [value_counts(frame) for frame in treated.frames.values()]
        self.values_out += sum(sum(counts.values()) for counts in outputs)
        if treated.accounted is not None:
            self._balance_accounted(name, counts_in, treated)
        else:
            self._balance_columns(name, counts_in, outputs, treated)

    def enter_parsed(self, treated: Treated) -> tuple[int, int]:
        """Enter one domain of parsed rows.

        Returns:
            How many values it has, and how many texts became null.
        """
        values = sum(sum(value_counts(frame).values()) for frame in treated.frames.values())
        self.values_out += values
        _enter_values(self.values_removed, treated.values_removed)
        return values, sum(sum(columns.values()) for columns in treated.values_removed.values())

    def enter_uncounted(
        self, before: Iterable[pl.DataFrame], after: Iterable[pl.DataFrame]
    ) -> None:
        """Enter what a treatment that takes and makes whole folders did, as far as one can see."""
        for frame in before:
            self.rows_in += frame.height
            self.values_in += sum(value_counts(frame).values())
        for frame in after:
            self.rows_out += frame.height
            self.values_out += sum(value_counts(frame).values())
        rows = self.rows_out - self.rows_in
        values = self.values_out - self.values_in
        (self.rows_added if rows > 0 else self.rows_removed).update(
            _positive({UNCOUNTED: abs(rows)})
        )
        _enter_values(
            self.values_added if values > 0 else self.values_removed,
            {UNCOUNTED: {"all columns": abs(values)}},
        )

    def _balance_accounted(self, name: str, counts_in: dict[str, int], treated: Treated) -> None:
        for column, count in counts_in.items():
            stands_for = (treated.accounted or {}).get(column, 0)
            stands_for += _of_column(treated.values_removed, column)
            if stands_for != count:
                self.imbalances.append(
                    f"{name}, {column}: {count} values in, {stands_for} accounted for"
                )

    def _balance_columns(
        self,
        name: str,
        counts_in: dict[str, int],
        outputs: list[dict[str, int]],
        treated: Treated,
    ) -> None:
        counts_out = outputs[0] if outputs else {}
        for column, source in {
            **{column: column for column in counts_in},
            **treated.derived,
        }.items():
            if not source:
                continue
            expected = (
                counts_in.get(source, 0)
                - _of_column(treated.values_removed, column)
                + _of_column(treated.values_added, column)
            )
            if counts_out.get(column, 0) != expected:
                self.imbalances.append(
                    f"{name}, {column}: {counts_out.get(column, 0)} values out, "
                    f"{expected} accounted for"
                )


def _enter_values(into: dict[str, Counter[str]], counts: Mapping[str, Mapping[str, int]]) -> None:
    for reason, columns in counts.items():
        if found := _positive(columns):
            into.setdefault(reason, Counter()).update(found)


def _of_column(counts: Mapping[str, Mapping[str, int]], column: str) -> int:
    return sum(columns.get(column, 0) for columns in counts.values())


def _positive(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def _totals(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    return {reason: sum(columns.values()) for reason, columns in counts.items()}
