"""`procezo ledger`: where every line of a dataset's raw files ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from datetime import date
from typing import Any

import click

from procezo_assets.balance import Balance, DayBalance, dataset_balance
from procezo_assets.cli.home import (
    Day,
    current_home,
    flow_option,
    format_option,
    load,
    reading_flows,
)
from procezo_assets.cli.output import counts_text, print_json, print_table
from procezo_assets.datasets import Dataset
from procezo_assets.errors import LedgerError, PartitionError
from procezo_assets.flows import Flow
from procezo_assets.runs import raw_source


@click.command()
@click.argument("dataset")
@click.option("--day", type=Day(), help="Only this UTC day, YYYY-MM-DD.")
@flow_option
@format_option
def ledger(dataset: str, day: date | None, flow_name: str | None, output_format: str) -> None:
    """Show where every line of DATASET's raw files ended, and what became of its rows.

    Raw files that are new or changed are read first. Exit code 1 where a line is not accounted for.
    """
    home = current_home()
    _, flows = load(home)
    found = home.existing_dataset(dataset)
    balances = [_balance(flow, found, day) for flow in reading_flows(flows, dataset, flow_name)]
    if output_format == "json":
        each = [_as_json(balance) for balance in balances]
        whole = {
            "dataset": dataset,
            "balanced": all(balance.balanced for balance in balances),
            "flows": each,
        }
        print_json(each[0] if len(each) == 1 else whole)
    else:
        for balance in balances:
            _print(balance)
    problems = [problem for balance in balances for problem in balance.problems]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise LedgerError(f"the ledger of '{dataset}' does not balance: {problems[0]}{more}")


def _balance(flow: Flow, dataset: Dataset, day: date | None) -> Balance:
    source = raw_source(flow, dataset)
    if source is None:  # `reading_flows` chose those that have one
        raise PartitionError(f"flow '{flow.name}' reads no raw files")
    source.scan()
    balance = dataset_balance(flow, dataset, source, day=day)
    if day is not None and not balance.days:
        raise PartitionError(f"dataset '{dataset.name}' has no rows of {day}", "see procezo status")
    return balance


def _as_json(balance: Balance) -> dict[str, Any]:
    return {
        "flow": balance.flow,
        "dataset": balance.dataset,
        "balanced": balance.balanced,
        "problems": balance.problems,
        "totals": _totals(balance),
        "files": [asdict(file) for file in balance.files],
        "days": [asdict(day) for day in balance.days],
    }


def _totals(balance: Balance) -> dict[str, int]:
    totals: Counter[str] = Counter(
        dict.fromkeys(("lines", "rows", "quarantined", "excluded", "blank", "header"), 0)
    )
    for file in balance.files:
        for name in totals:
            totals[name] += getattr(file, name)
    return dict(totals)


def _print(balance: Balance) -> None:
    title = f"{balance.flow}: {balance.dataset}"
    print_table(
        ["raw file", "lines", "rows", "quarantined", "excluded", "blank", "header", "remarks"],
        [
            [
                file.path,
                file.lines,
                file.rows,
                file.quarantined,
                file.excluded,
                file.blank,
                file.header,
                ", ".join(
                    [
                        *([counts_text(dict(file.reasons))] if file.reasons else []),
                        *([f"same as {file.same_as}"] if file.same_as else []),
                        *(["gone"] if file.removed else []),
                        *file.remarks,
                    ]
                ),
            ]
            for file in balance.files
        ],
        title=title,
    )
    print_table(
        ["day", "state", "raw rows", "read once", "parsed", "removed by reason", "rows out"],
        [_day_row(day) for day in balance.days],
        title=title,
    )
    totals = _totals(balance)
    ends = counts_text({name: count for name, count in totals.items() if name != "lines"})
    verdict = "balanced" if balance.balanced else "does not balance"
    click.echo(f"{verdict}: {totals['lines']:,} lines: {ends}")


def _day_row(day: DayBalance) -> list[object]:
    removed: Counter[str] = Counter()
    for stage in day.stages:
        for reason, count in stage.counts.get("rows_removed", {}).items():
            of = "" if reason == stage.stage else f"{stage.stage} "
            removed[f"{of}{reason} rows"] += count
        for reason, columns in stage.counts.get("values_removed", {}).items():
            removed[f"{stage.stage} {reason}"] += sum(columns.values())
    last = day.stages[-1]
    return [
        day.day,
        day.state,
        day.raw_rows,
        day.raw_rows - day.repeated,
        "" if day.parsed is None else day.parsed,
        counts_text(dict(removed)),
        last.counts.get("rows_out", ""),
    ]
