"""`exportparquet`: a parquet file a device, for everything that reads data frames."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from pydantic import model_validator

from procezo_assets.stores.export_columns import refuse_repeated_names
from procezo_assets.stores.exports import Export, ExportParameters, export
from procezo_assets.stores.loads import Loaded, StageInput
from procezo_assets.treatments.model import loader

_OWN_COLUMNS = ("ts", "device")


class ExportparquetParameters(ExportParameters):
    """What goes into the parquet files."""

    @model_validator(mode="after")
    def _check_names(self) -> ExportparquetParameters:
        refuse_repeated_names(self.columns, _OWN_COLUMNS)
        return self


@loader(parameters=ExportparquetParameters, output="62_exportparquet")
def exportparquet(inputs: list[StageInput], params: ExportparquetParameters) -> list[Loaded]:
    """Export a domain and window as one parquet file a device: `ts` (UTC), `device`, the columns.

    Raises:
        StoreError: Where the folder cannot be written.
    """
    how = Export(
        suffix=".parquet",
        tz="UTC",
        columns=params.columns,
        declared=True,
        own=tuple(pl.col(name) for name in _OWN_COLUMNS),
        write=_write,
    )
    return export(inputs, params, how)


def _write(frame: pl.LazyFrame, path: Path) -> None:
    frame.sink_parquet(path, compression="zstd", engine="streaming")
