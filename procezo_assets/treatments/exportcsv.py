"""`exportcsv`: a CSV file a device, for spreadsheets and the tools that read them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from pydantic import Field, field_validator, model_validator

from procezo_assets.parameters import ZoneName
from procezo_assets.stores.export_columns import (
    ExportColumn,
    for_spreadsheets,
    refuse_repeated_names,
)
from procezo_assets.stores.exports import Export, ExportParameters, export
from procezo_assets.stores.loads import Loaded, StageInput
from procezo_assets.treatments.model import loader

TIME_COLUMN = "Time"
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"

_DEFAULT_COLUMNS = {f"m{i}__raw__mean": ExportColumn(name=f"c{i}", dtype="int") for i in range(12)}


class ExportcsvParameters(ExportParameters):
    """What goes into the CSV files, and how."""

    tz: ZoneName = Field(
        "Europe/Paris",
        description="Zone of the column Time and of the dates in the files' names (IANA name).",
    )
    columns: dict[str, ExportColumn] = Field(
        _DEFAULT_COLUMNS,
        description="The columns to export in this order: source column to its new name, or to "
        "{name, dtype, decimals}; all under their own names where empty. Of the default ones, "
        "those that a device has.",
    )
    delimiter: str = Field(
        ";", min_length=1, max_length=1, description="The character between fields."
    )

    @field_validator("delimiter")
    @classmethod
    def _separates(cls, delimiter: str) -> str:
        if not delimiter.isascii() or delimiter.isalnum() or delimiter in '"\r\n.+-: =@':
            raise ValueError(f"{delimiter!r} cannot separate fields; take one of ; , | or a tab")
        return delimiter

    @model_validator(mode="after")
    def _check_names(self) -> ExportcsvParameters:
        refuse_repeated_names(self.columns, [TIME_COLUMN])
        return self


@loader(
    parameters=ExportcsvParameters, aliases=[("exportnour", "61_exportnour")], output="61_exportcsv"
)
def exportcsv(inputs: list[StageInput], params: ExportcsvParameters) -> list[Loaded]:
    """Export a domain and window as one CSV file a device, with local times and chosen columns.

    The column `Time` is `YYYY-MM-DD HH:MM:SS` in the declared zone, so that the hour in which
    clocks go back is there twice; nulls are empty. Texts and names of columns that a spreadsheet
    would run as formulas begin with `'`; numbers are as they are.

    Raises:
        StoreError: Where the folder cannot be written.
    """

    def write(frame: pl.LazyFrame, path: Path) -> None:
        for_spreadsheets(frame, untouched={TIME_COLUMN}).sink_csv(
            path, separator=params.delimiter, engine="streaming"
        )

    time = pl.col("ts").dt.convert_time_zone(params.tz).dt.strftime(TIME_FORMAT)
    declared = params.columns != _DEFAULT_COLUMNS
    others = not declared and params.domain != "bio_signal"  # the default columns are of that one
    how = Export(
        suffix=".csv",
        tz=params.tz,
        columns={} if others else params.columns,
        declared=declared,
        own=(time.alias(TIME_COLUMN),),
        write=write,
    )
    return export(inputs, params, how)
