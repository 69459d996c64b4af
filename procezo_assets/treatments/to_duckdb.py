"""Load a stage into the warehouse, the DuckDB file of the home."""

from __future__ import annotations

from pydantic import AliasChoices, Field

from procezo_assets.parameters import Parameters
from procezo_assets.stores.loads import Loaded, StageInput
from procezo_assets.treatments.model import loader


class ToDuckdbParameters(Parameters):
    """What to load into the warehouse."""

    domains: list[str] = Field(
        default_factory=list, description="The domains to load; all of them where empty."
    )
    windows: list[str] = Field(
        default_factory=list,
        validation_alias=AliasChoices("windows", "aggregations"),
        description="The aggregation windows to load (`10s`); all of them where empty. "
        "Ignored where the input stage has none.",
    )
    views: bool = Field(
        default=True,
        description="Whether to keep views over the parquet files of the flow's other stages.",
    )


@loader(parameters=ToDuckdbParameters, output="50_duckdb")
def to_duckdb(inputs: list[StageInput], params: ToDuckdbParameters) -> list[Loaded]:
    """Load a stage into DuckDB: a table per domain and window, views over the other stages.

    Raises:
        StoreError: Where the warehouse is held by another program or refuses the rows.
    """
    # DuckDB takes long to import, and every command imports the treatments.
    from procezo_assets.stores.warehouse_tables import load  # noqa: PLC0415

    return load(inputs, domains=params.domains, windows=params.windows, views=params.views)
