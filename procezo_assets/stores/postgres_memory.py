"""What a wide table remembers in its comment: its dataset, who wrote which columns, and whose.

Without it, the load of a second dataset would take the first one's rows away unseen, and the
columns of a device that is gone from all files would keep their values for ever. And where the
names of two devices make the same columns, these would get values of both.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from procezo_assets.errors import StoreError
from procezo_assets.stores.postgres_tables import Table, execute, literal, query

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Cursor

_MARK = "Loaded by procezo: "


@dataclass(frozen=True)
class Memory:
    """What a wide table remembers.

    Args:
        dataset: The dataset that fills it; None where nobody has said so yet.
        columns: The columns that each origin, such as `valvometry/to_postgres`, ever answered for.
        devices: The device by the beginning of its columns' names.
        said: The lines of the comment that people wrote.
    """

    dataset: str | None = None
    columns: Mapping[str, frozenset[str]] = field(default_factory=dict)
    devices: Mapping[str, str] = field(default_factory=dict)
    said: tuple[str, ...] = ()

    def answers_for(self, origin: str, derived: Collection[str]) -> set[str]:
        """The columns that an origin's load of a day replaces, beside those it writes.

        Args:
            origin: What loads.
            derived: Columns that its files of other days have. One that only another origin ever
                wrote is not among the answer.
        """
        own = self.columns.get(origin, frozenset())
        theirs = frozenset[str]().union(*self.columns.values()) - own
        return {*own, *derived} - theirs

    def with_columns(
        self, dataset: str, origin: str, columns: Collection[str], devices: Mapping[str, str]
    ) -> Memory:
        """What to remember once an origin has loaded a dataset's day."""
        owned = self.columns.get(origin, frozenset()) | frozenset(columns)
        return replace(
            self,
            dataset=dataset,
            columns={**self.columns, origin: owned},
            devices={**self.devices, **devices},
        )


def read_memory(cursor: Cursor, table: Table) -> Memory:
    """Read what a table remembers; a table as the established tool leaves it remembers nothing."""
    rows = query(
        cursor,
        """SELECT obj_description(c.oid, 'pg_class') FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {} AND c.relname = {}""",
        literal(table.schema),
        literal(table.name),
    )
    return _parsed(rows[0][0] if rows else None)


def write_memory(cursor: Cursor, table: Table, memory: Memory) -> None:
    """Write what a table remembers into its comment, below what people wrote there."""
    content = json.dumps(
        {
            "dataset": memory.dataset,
            "columns": {origin: sorted(names) for origin, names in sorted(memory.columns.items())},
            **({"devices": dict(sorted(memory.devices.items()))} if memory.devices else {}),
        },
        ensure_ascii=False,
    )
    execute(
        cursor,
        "COMMENT ON TABLE {}.{} IS {comment}",
        table.schema,
        table.name,
        comment=literal("\n".join([*memory.said, _MARK + content])),
    )


def check_dataset(memory: Memory, table: Table, dataset: str) -> None:
    """Refuse to load a dataset into a table that another one fills.

    Raises:
        StoreError: Naming both.
    """
    if memory.dataset not in {None, dataset}:
        raise StoreError(
            f"the table {table} holds the dataset '{memory.dataset}', whose rows the dataset "
            f"'{dataset}' would replace",
            "put {experience} into table_template, or rename one of them where the template has "
            f"it; where '{memory.dataset}' is no more, drop the table",
        )


def tables_of(cursor: Cursor, schema: str, dataset: str, origin: str) -> list[Table]:
    """The wide tables of a schema that an origin has loaded a dataset into."""
    beginning = _MARK + json.dumps({"dataset": dataset}, ensure_ascii=False).removesuffix("}")
    rows = query(
        cursor,
        """SELECT c.relname::text, obj_description(c.oid, 'pg_class') FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = {} AND c.relkind IN ('r', 'p')
        AND position({} IN obj_description(c.oid, 'pg_class')) > 0 ORDER BY 1""",
        literal(schema),
        literal(beginning),
    )
    return [
        Table(schema, str(name))
        for name, comment in rows
        if (memory := _parsed(comment)).dataset == dataset and origin in memory.columns
    ]


def _parsed(comment: str | None) -> Memory:
    memory = Memory()
    said: list[str] = []
    for line in comment.split("\n") if comment else ():
        if (found := _from_line(line)) is None:
            said.append(line)
        else:
            memory = found
    return replace(memory, said=tuple(said))


def _from_line(line: str) -> Memory | None:
    if not line.startswith(_MARK + "{"):
        return None
    try:
        content = json.loads(line.removeprefix(_MARK))
        columns = {
            str(origin): frozenset(map(str, names)) for origin, names in content["columns"].items()
        }
        devices = {str(prefix): str(one) for prefix, one in content.get("devices", {}).items()}
        return Memory(str(content["dataset"]), columns, devices)
    except (ValueError, AttributeError, KeyError, TypeError):
        return None  # someone edited it: what is left of it counts as theirs
