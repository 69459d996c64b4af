"""Checks of stages: two laws that block, and two that warn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import dagster as dg

from procezo_assets.errors import LedgerError, SchemaError
from procezo_assets.flows import Stage
from procezo_assets.pipeline import StageDone, StageKept
from procezo_assets.raw.remarks import device_remarks
from procezo_assets.runs import DayFailed, RawScanned

SCHEMA = "schema"
LEDGER = "ledger"
QUARANTINE = "quarantine"
QUALITY = "quality"

_SHOWN = 20


def check_specs(stage: Stage, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks of a stage; loading stages make no frames and have none."""
    if stage.treatment.kind == "load":
        return []
    specs = [
        dg.AssetCheckSpec(
            SCHEMA,
            asset=key,
            blocking=True,
            description="The files have the columns, types, order and ranges that the flow "
            "promises (pandera). A stage that breaks it writes nothing.",
        ),
        dg.AssetCheckSpec(
            LEDGER,
            asset=key,
            blocking=True,
            description="Every row and value in is a row or value out, or counted with a reason.",
        ),
        dg.AssetCheckSpec(
            QUALITY, asset=key, description="Nothing a person should look at. Warns, never stops."
        ),
    ]
    if stage.treatment.kind == "source":
        specs.append(
            dg.AssetCheckSpec(
                QUARANTINE,
                asset=key,
                description="No line of a raw file was quarantined. Warns, never stops.",
            )
        )
    return specs


def check_warnings(check: str, metadata: Mapping[str, Any]) -> list[str]:
    """Tell in sentences what a check that warns has found.

    Args:
        check: The check's name.
        metadata: The plain values of its result's metadata.
    """
    if check == QUARANTINE:
        reasons = ", ".join(f"{reason} {count}" for reason, count in metadata["reasons"].items())
        lines, files = metadata["lines"], metadata["findings"]
        return [f"{lines} lines of {files} raw files are in quarantine: {reasons}"]
    found = [str(one["warning"]) for one in metadata["first_findings"] if "warning" in one]
    more = metadata["findings"] - len(metadata["first_findings"])
    return [*dict.fromkeys(found), *([f"and {more} more"] if more else [])]


@dataclass
class StageFindings:
    """What a run learned of one stage, for its checks.

    Args:
        partitions: How many partitions were written.
        schema_failures: One dict a failed schema check, with dataset and day.
        ledger_failures: One sentence each, with dataset and day.
        warnings: One dict each, with dataset and day.
        quarantined: One dict a raw file with quarantined lines.
        unbalanced_files: Raw files in which a line ended in no place or in two.
    """

    partitions: int = 0
    schema_failures: list[dict[str, Any]] = field(default_factory=list)
    ledger_failures: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[dict[str, Any]] = field(default_factory=list)
    quarantined: list[dict[str, Any]] = field(default_factory=list)
    unbalanced_files: list[str] = field(default_factory=list)

    def enter(self, event: StageDone | StageKept | DayFailed) -> None:
        """Learn from a partition that was written, that was left as it is, or that failed."""
        where = {"dataset": event.dataset, "day": str(event.day)}
        if isinstance(event, StageDone):
            self.partitions += 1
            self.warnings += [{**where, "warning": text} for text in event.warnings]
        elif isinstance(event, StageKept):
            self.warnings.append({**where, "warning": f"left as it is: {event.reason}"})
        elif isinstance(event.error, SchemaError):
            self.schema_failures += [{**where, **failure} for failure in event.error.failures]
        elif isinstance(event.error, LedgerError):
            self.ledger_failures.append({**where, "imbalance": event.error.problem})

    def enter_scan(self, scanned: RawScanned, days: set[date]) -> None:
        """Learn from the raw files of a dataset.

        Files are of interest that have rows of the run's days, or no rows at all.
        """
        source = scanned.source
        files = source.files_with_or_without(days)
        self.warnings += [
            {"dataset": source.dataset.name, "warning": remark}
            for remark in device_remarks(files.values())
        ]
        for counted in files.values():
            where = {"dataset": source.dataset.name, "file": counted.file.name}
            if not counted.balanced:
                self.unbalanced_files.append(counted.file.name)
            if counted.quarantined:
                lines = sum(counted.quarantined.values())
                self.quarantined.append(
                    {**where, "lines": lines, "of": counted.lines, "reasons": counted.quarantined}
                )
            if counted.same_as:
                self.warnings.append(
                    {**where, "warning": f"identical to {counted.same_as}; read once"}
                )
        for file, error in source.unreadable.items():
            self.warnings.append(
                {"dataset": source.dataset.name, "file": file.name, "warning": str(error)}
            )

    def _quarantine_reasons(self) -> dict[str, int]:
        reasons: Counter[str] = Counter()
        for one in self.quarantined:
            reasons.update(one["reasons"])
        return dict(sorted(reasons.items()))

    def results(self, stage: Stage, key: dg.AssetKey) -> Iterator[dg.AssetCheckResult]:
        """The verdicts of the stage's checks over all partitions of the run."""
        ledger_failures = [
            *self.ledger_failures,
            *({"file": name, "imbalance": "lines"} for name in self.unbalanced_files),
        ]
        verdicts = {
            SCHEMA: (self.schema_failures, dg.AssetCheckSeverity.ERROR),
            LEDGER: (ledger_failures, dg.AssetCheckSeverity.ERROR),
            QUALITY: (self.warnings, dg.AssetCheckSeverity.WARN),
        }
        if stage.treatment.kind == "source":
            verdicts[QUARANTINE] = (self.quarantined, dg.AssetCheckSeverity.WARN)
        for name, (findings, severity) in verdicts.items():
            metadata: dict[str, Any] = {"partitions": self.partitions}
            if findings:
                metadata["findings"] = len(findings)
                metadata["first_findings"] = dg.MetadataValue.json(findings[:_SHOWN])
            if name == QUARANTINE and findings:
                metadata["lines"] = sum(one["lines"] for one in self.quarantined)
                metadata["reasons"] = dg.MetadataValue.json(self._quarantine_reasons())
            yield dg.AssetCheckResult(
                asset_key=key,
                check_name=name,
                passed=not findings,
                severity=severity,
                metadata=metadata,
            )
