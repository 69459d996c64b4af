"""The parquet files of a partition: written whole or not at all."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, date, datetime

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from procezo_assets.datasets import PartKey, part_files
from procezo_assets.errors import PartitionError
from procezo_assets.stores.parquet import (
    Provenance,
    file_sha256,
    read_part,
    read_provenance,
    write_partition,
)

DAY = date(2026, 1, 25)
A, B, C = (PartKey(device, "bio") for device in "abc")
MADE = Provenance("valvo", "clean", "clean", "1", "cafe", "f00d", 1)
COUNTS = {
    **dict.fromkeys(("rows_in", "rows_out", "values_in", "values_out"), 1),
    **{name: {"why": 1} for name in ("rows_removed", "rows_added")},
    **{name: {"why": {"m0": 1}} for name in ("values_removed", "values_added")},
}


def frame(*values):
    ts = [datetime(2026, 1, 25, 8, second, tzinfo=UTC) for second in range(len(values))]
    return pl.DataFrame(
        {"ts": ts, "m0": list(values)}, schema_overrides={"ts": pl.Datetime("us", "UTC")}
    )


def write(folder, frames, provenance=MADE):
    return write_partition(folder, DAY, frames, dict.fromkeys(frames, provenance))


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_written_is_read_back(tmp_path):
    written = write(tmp_path, {A: frame(1, None), B: frame()})

    assert part_files(tmp_path, DAY) == {key: file.path for key, file in written.items()}
    assert_frame_equal(read_part(written[A].path), frame(1, None))
    assert_frame_equal(read_part(written[B].path), frame(), check_dtypes=False)
    for file in written.values():
        assert (file.sha256, file.size) == (file_sha256(file.path), file.path.stat().st_size)


def test_a_file_is_readable_without_us(tmp_path):
    (written,) = write(tmp_path, {A: frame(1)}).values()

    found = pl.read_parquet(written.path, hive_partitioning=False)
    assert found.columns == ["ts", "device", "m0"]
    assert found.schema["ts"] == pl.Datetime("us", "UTC")
    assert found["device"].to_list() == ["a"]
    assert written.path.relative_to(tmp_path).as_posix() == (
        "domain=bio/day=2026-01-25/a__bio__2026-01-25.parquet"
    )


def test_a_column_device_of_a_treatment_is_not_the_device(tmp_path):
    (written,) = write(tmp_path, {A: frame(1).with_columns(device=pl.lit("other"))}).values()

    assert pl.read_parquet(written.path, hive_partitioning=False)["device"].to_list() == ["a"]


def test_the_footer_says_what_a_file_was_made_from(tmp_path):
    made = replace(MADE, fit="beef", counts=COUNTS)
    (written,) = write(tmp_path, {A: frame(1)}, made).values()

    assert read_provenance(written.path) == made
    footer = json.loads(pl.read_parquet_metadata(written.path)["procezo"])
    assert footer == {
        "flow": "valvo",
        "stage": "clean",
        "treatment": "clean",
        "version": "1",
        "parameters": "cafe",
        "input": "f00d",
        "counts": COUNTS,
        "parts": 1,
        "fit": "beef",
    }


@pytest.mark.parametrize("data", [b"", b"PAR1", b"x" * 100, None])
def test_a_file_that_is_not_ours_has_no_provenance(tmp_path, data):
    path = tmp_path / "a.parquet"
    if data is not None:
        path.write_bytes(data)

    assert read_provenance(path) is None
    with pytest.raises(PartitionError, match=r"a\.parquet cannot be read: .*run the stage"):
        read_part(path)


def test_a_foreign_parquet_file_has_no_provenance(tmp_path):
    frame(1).write_parquet(tmp_path / "a.parquet")

    assert read_provenance(tmp_path / "a.parquet") is None


def test_writing_the_same_again_makes_the_same_bytes(tmp_path):
    write(tmp_path, {A: frame(1, 2), B: frame(3)})
    before = contents(tmp_path)

    write(tmp_path, {B: frame(3), A: frame(1, 2)})

    assert contents(tmp_path) == before


def test_files_that_the_partition_no_longer_has_go(tmp_path):
    windows = {PartKey("a", "bio", "10s"): frame(1), PartKey("a", "other"): frame(1)}
    write(tmp_path, {A: frame(1), B: frame(2), **windows})
    write_partition(tmp_path, date(2026, 1, 26), {A: frame()}, {A: MADE})

    write(tmp_path, {B: frame(2)})

    assert list(part_files(tmp_path, DAY)) == [B]
    assert list(part_files(tmp_path, date(2026, 1, 26))) == [A]
    assert not (tmp_path / "domain=other").exists()

    write(tmp_path, {})
    assert part_files(tmp_path, DAY) == {}
    assert [path.name for path in (tmp_path / "domain=bio").iterdir()] == ["day=2026-01-26"]


def test_a_frame_that_cannot_be_encoded_leaves_everything_as_it_was(tmp_path):
    write(tmp_path, {A: frame(1), B: frame(2)})
    before = contents(tmp_path)
    unfit = frame(1).with_columns(x=pl.Series([object()], dtype=pl.Object))

    with pytest.raises(Exception, match=r"(?i)object"):
        write(tmp_path, {A: frame(9), C: unfit})

    assert contents(tmp_path) == before


def test_a_folder_in_the_way_leaves_no_temporary_files(tmp_path):
    write(tmp_path, {A: frame(1), C: frame(3)})
    before = contents(tmp_path)
    obstacle = B.path(tmp_path, DAY)
    (obstacle / "x").mkdir(parents=True)

    with pytest.raises(OSError, match="directory"):
        write(tmp_path, {B: frame(2), C: frame(9)})

    assert not list(tmp_path.rglob(".*"))
    assert contents(tmp_path) == before


def test_a_file_in_the_way_of_a_folder_leaves_everything_as_it_was(tmp_path):
    write(tmp_path, {A: frame(1)})
    before = contents(tmp_path)
    (tmp_path / "domain=other").touch()

    with pytest.raises(OSError, match=r"(?i)exists|directory"):
        write(tmp_path, {A: frame(9), PartKey("a", "other"): frame(1)})

    assert contents(tmp_path) == {**before, "domain=other": b""}


def test_long_names_of_devices_fit(tmp_path):
    key = PartKey("x" * 200, "bio")

    write(tmp_path, {key: frame(1)})

    assert list(part_files(tmp_path, DAY)) == [key]


@pytest.mark.parametrize(
    "damage",
    [
        "[" * 100_000,
        "[1]",
        {"fit": [1]},
        {"parts": "many"},
        {"input": {}},
        {"unknown": 1},
        {"counts": [1]},
        {"counts": {"rows_in": "x"}},
        {"counts": {**COUNTS, "values_removed": {"why": 1}}},
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_footer_of_another_shape_is_none_of_ours(tmp_path, damage):
    made = replace(MADE, counts=COUNTS)
    write(tmp_path, {A: frame(1)}, made)
    (path,) = part_files(tmp_path, DAY).values()
    assert read_provenance(path) == made
    footer = damage if isinstance(damage, str) else json.dumps({**asdict(made), **damage})
    pl.read_parquet(path).write_parquet(path, metadata={"procezo": footer})

    assert read_provenance(path) is None
