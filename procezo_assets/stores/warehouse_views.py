"""Views of the warehouse: the parquet files of a flow's other stages, to be queried in place."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from procezo_assets.datasets import Home
from procezo_assets.stores.loads import StageInput
from procezo_assets.stores.warehouse import (
    MADE_BY,
    first_line,
    glob_of,
    parse_comment,
    quote_identifier,
    quote_literal,
    schema_name,
    transaction,
)

_STAGE_FOLDER = re.compile(r"\d+_(?P<stage>.+)")
_WINDOWED = re.compile(r"__\d{4}-\d{2}-\d{2}__[^/]+\.parquet")
_WINDOW_OF_FILE = r"__\d{4}-\d{2}-\d{2}__([^/]+)\.parquet$"


@dataclass(frozen=True)
class _Source:
    """What a view reads: one domain of one stage folder."""

    folder: str
    domain: str


def refresh_views(
    connection: duckdb.DuckDBPyConnection,
    inputs: Sequence[StageInput],
    *,
    domains: Collection[str] = (),
) -> tuple[str, ...]:
    """Make the view `<domain>_<stage>` over every other stage that has files, and drop dead ones.

    Columns: `dataset`, `device`, `ts`, the values, `day`, and `window` where the stage has windows.
    A table or somebody else's view of the same name stays as it is.

    Args:
        connection: The warehouse, open for writing.
        inputs: The datasets whose folders are looked through, and the stage that is a table.
        domains: The domains to make views of; all where empty.

    Returns:
        A sentence on each view that could not be made, or on what kept all from being looked after.
    """
    warnings: list[str] = []
    try:
        for warning in _refreshed(connection, inputs, domains=domains):
            warnings.append(warning)  # noqa: PERF402 - those before an error are kept
    except (duckdb.Error, OSError) as error:  # the rows are there by now, and stay
        problem = first_line(error) if isinstance(error, duckdb.Error) else str(error)
        schema = schema_name(inputs[0].flow)
        warnings.append(f"the views of schema {schema} could not be kept up to date: {problem}")
    return tuple(warnings)


def _refreshed(
    connection: duckdb.DuckDBPyConnection,
    inputs: Sequence[StageInput],
    *,
    domains: Collection[str],
) -> Iterator[str]:
    views = _Views(connection, inputs[0].home, schema_name(inputs[0].flow))
    datasets = sorted({one.dataset for one in inputs} | views.datasets())
    sources = dict(_sources(inputs[0].home, datasets))
    names = _names(sources)
    for source, name in names.items():
        if source.folder != inputs[0].folder.name and (not domains or source.domain in domains):
            yield from views.make(name, source, sources[source])
    views.drop_dead(names.values())


class _Views:
    """The views of one schema."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, home: Home, schema: str) -> None:
        self.connection = connection
        self.home = home
        self.schema = schema
        row = connection.execute("SELECT current_database()").fetchone()
        self.catalog = str(row[0]) if row else ""
        self.tables = {
            name.casefold()
            for (name,) in connection.execute(
                "SELECT table_name FROM duckdb_tables() "
                "WHERE database_name = ? AND schema_name = ?",
                [self.catalog, schema],
            ).fetchall()
        }
        self.comments: dict[str, str] = {
            name: comment or ""
            for name, comment in connection.execute(
                "SELECT view_name, comment FROM duckdb_views() "
                "WHERE database_name = ? AND schema_name = ?",
                [self.catalog, schema],
            ).fetchall()
        }

    def datasets(self) -> set[str]:
        """The datasets that the views read now: a run may be about some of a flow's only."""
        return {
            dataset
            for comment in self.comments.values()
            for dataset in (parse_comment(comment) or {}).get("datasets", ())
        }

    def make(self, name: str, source: _Source, folders: Mapping[str, Path]) -> Iterator[str]:
        """Make a view unless it is there as it should be; yield why it cannot be made."""
        if name.casefold() in self.tables:
            return
        definition = _definition(folders)
        comment = json.dumps(
            {
                "made_by": MADE_BY,
                "folder": source.folder,
                "domain": source.domain,
                "datasets": sorted(folders),
                "sha256": hashlib.sha256(definition.encode()).hexdigest(),
            },
            sort_keys=True,
        )
        existing = next((v for v in self.comments if v.casefold() == name.casefold()), None)
        if existing is not None and self.comments[existing] == comment:
            return
        if existing is not None and parse_comment(self.comments[existing]) is None:
            yield f"view {self.schema}.{existing} is somebody else's and was left as it is"
            return
        path = quote_identifier(self.catalog, self.schema, name)
        try:
            with transaction(self.connection):
                self.connection.execute(f"CREATE OR REPLACE VIEW {path} AS {definition}")
                self.connection.execute(f"COMMENT ON VIEW {path} IS {quote_literal(comment)}")
        except duckdb.Error as error:
            yield f"view {self.schema}.{name} could not be made: {first_line(error)}"

    def drop_dead(self, alive: Iterable[str]) -> None:
        """Drop our views that are none of the names of now."""
        names = {name.casefold() for name in alive}
        for name, comment in self.comments.items():
            if parse_comment(comment) is not None and name.casefold() not in names:
                self.connection.execute(
                    f"DROP VIEW {quote_identifier(self.catalog, self.schema, name)}"
                )


def _sources(home: Home, datasets: Iterable[str]) -> Iterator[tuple[_Source, dict[str, Path]]]:
    """Find the stage folders with files: for each domain of each, its folder in each dataset."""
    found: dict[_Source, dict[str, Path]] = defaultdict(dict)
    for dataset in datasets:
        for domain_folder in home.dataset(dataset).path.glob("*_*/domain=*"):
            folder = domain_folder.parent.name
            if _STAGE_FOLDER.fullmatch(folder) and _first_file(domain_folder) is not None:
                domain = domain_folder.name.removeprefix("domain=")
                found[_Source(folder, domain)][dataset] = domain_folder
    yield from sorted(found.items(), key=lambda item: (item[0].folder, item[0].domain))


def _names(sources: Iterable[_Source]) -> dict[_Source, str]:
    """Name the views `<domain>_<stage>`; of stages that share a name the later keep the number."""
    names: dict[_Source, str] = {}
    taken: set[str] = set()
    for source in sources:
        match = _STAGE_FOLDER.fullmatch(source.folder)
        name = f"{source.domain}_{match['stage'] if match else source.folder}"
        if name.casefold() in taken:
            name = f"{source.domain}_{source.folder}"
        taken.add(name.casefold())
        names[source] = name
    return names


def _definition(folders: Mapping[str, Path]) -> str:
    windowed = any(
        (file := _first_file(folder)) is not None and _WINDOWED.search(file.name)
        for folder in folders.values()
    )
    return " UNION ALL BY NAME ".join(
        _select(dataset, folder, windowed=windowed) for dataset, folder in folders.items()
    )


def _select(dataset: str, folder: Path, *, windowed: bool) -> str:
    # Everything of the form key=value in the path becomes a column, in the home's path as well.
    keys = dict.fromkeys(part.partition("=")[0] for part in folder.parts if "=" in part)
    hidden = ", ".join(quote_identifier(name) for name in ["device", "ts", *keys, "__file"])
    window = f', regexp_extract(__file, {quote_literal(_WINDOW_OF_FILE)}, 1) AS "window"'
    pattern = quote_literal(f"{glob_of(folder)}/day=*/*.parquet")
    return (
        f"SELECT {quote_literal(dataset)}::VARCHAR AS dataset, device, ts, "  # noqa: S608 - quoted
        f"* EXCLUDE ({hidden}){window if windowed else ''} "
        f"FROM read_parquet({pattern}, hive_partitioning = true, hive_types = {{'day': DATE}}, "
        "union_by_name = true, filename = '__file')"
    )


def _first_file(domain_folder: Path) -> Path | None:
    return next(domain_folder.glob("day=*/*.parquet"), None)
