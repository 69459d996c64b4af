"""What a materialization shows."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import timedelta

import dagster as dg
import pytest
from small_home import AGGREGATE, CLEAN, DAYS, DUCKDB, PARSE, RESAMPLE, SmallHome, key

from procezo_assets.orchestration.code_location import build_defs

# a value out of range, a spike, and a time that is there already
ODD = [
    "2026-01-20T10:04:50Z;m0:1;m1:1",
    "2026-01-20T10:05:00Z;m0:9999;m1:230",
    "2026-01-20T10:05:10Z;m0:700;m1:231;outdoor_temp:12.5",
]


def metadata(home: SmallHome, stage: str, day=DAYS[0]):
    """The metadata of a partition's newest materialization."""
    with home.instance() as instance:
        filtered = dg.AssetRecordsFilter(
            asset_key=dg.AssetKey(["small", stage]), asset_partitions=[key(day)]
        )
        newest = instance.fetch_materializations(filtered, limit=1).records[0]
    return newest.asset_materialization.metadata


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    home = SmallHome(tmp_path_factory.mktemp("shown"))
    home.write_flow(PARSE, CLEAN, RESAMPLE, AGGREGATE, DUCKDB)
    home.write_raw(DAYS[0], odd=ODD)
    home.write_raw(DAYS[0], device="pil-98")
    assert home.launch(DAYS[0]).success
    return home


def test_clean_counts_rows_and_values_by_reason(shown):
    found = metadata(shown, "clean")
    # two domains of 33 rows, and two of 30
    assert found["rows_in"].value == 126
    assert found["rows_out"].value == 124
    assert found["dagster/partition_row_count"].value == 124
    removed = found["removed"].value
    assert removed["rows"] == {"repeated_timestamp": 2}
    assert removed["values"] == {"repeated_timestamp": 2, "out_of_range": 1, "spike": 1}
    assert found["removed_by_column"].value["spike"] == {"m0": 1}
    assert found["values_in"].value - found["values_out"].value == 4


def test_clean_shows_devices_times_sizes_and_seconds(shown):
    found = metadata(shown, "clean")
    assert found["devices"].value == "pil-90, pil-98"
    times = [found[name].value for name in ("first_ts", "last_ts")]
    assert times[1] - times[0] == 310  # 10:00:00 to 10:05:10
    files = list(shown.stage("20_clean").rglob("*.parquet"))
    assert found["files"].value == len(files) == 4
    assert found["bytes"].value == sum(path.stat().st_size for path in files)
    assert found["seconds"].value >= 0


def test_clean_shows_a_preview_and_the_columns(shown):
    found = metadata(shown, "clean")
    preview = found["preview"].value
    assert "pil-90, bio_signal: first 5 of 32 rows" in preview
    assert "| ts | " in preview
    assert "| 10:00:00 | 100 | 200 |" in preview
    columns = {one.name: one.type for one in found["dagster/column_schema"].value.columns}
    assert columns == {
        "ts": "timestamp[us, UTC]",
        "device": "string",
        "m0": "int64",
        "m1": "int64",
    }


def test_clean_shows_the_day_before_and_after(shown):
    text = metadata(shown, "clean")["plot"].value
    data = base64.b64decode(text.partition("base64,")[2].rstrip(")"))
    assert data.startswith(b"<svg")
    assert text.startswith("![pil-90")
    assert "2026-01-20" in text.partition("]")[0]
    assert len(text) < 20_000
    assert "plot" not in metadata(shown, "resampled")


def test_runs_of_more_than_a_month_draw_no_plots(tmp_path):
    home = SmallHome(tmp_path)
    home.write_flow(PARSE, CLEAN)
    home.write_raw(DAYS[0], odd=ODD)
    assert home.launch(DAYS[0] - timedelta(days=31), DAYS[0]).success  # 32 days
    assert "plot" not in metadata(home, "clean")
    assert home.launch(DAYS[0] - timedelta(days=30), DAYS[0]).success  # 31 days
    assert "plot" in metadata(home, "clean")


def test_parsed_names_its_raw_files_with_their_hash(shown):
    records = metadata(shown, "parsed")["raw_files"].records
    found = {one.data["file"]: one.data for one in records}
    names = [f"DS-1_{device}_{DAYS[0]}.csv" for device in ("pil-90", "pil-98")]
    assert sorted(found) == names
    for name, rows in zip(names, (33, 30), strict=True):
        digest = hashlib.sha256(shown.raw_file(name).read_bytes()).hexdigest()
        assert found[name]["sha256"] == digest
        assert found[name]["rows"] == rows


def test_loads_show_rows_and_tables(shown):
    found = metadata(shown, "duckdb")
    (count,) = shown.rows(
        "SELECT (SELECT count(*) FROM small.bio_signal_60s) + "
        "(SELECT count(*) FROM small.environment_60s)"
    )
    assert found["rows_out"].value == count[0] == 22  # 6 and 5 minutes of two domains
    assert "small.bio_signal_60s" in found["tables"].value


def test_metadata_of_the_same_files_is_of_the_same_version(shown):
    def version():
        with shown.instance() as instance:
            event = instance.get_latest_materialization_event(dg.AssetKey(["small", "clean"]))
        return event.asset_materialization.tags["dagster/data_version"]

    before = version()
    assert shown.launch(DAYS[0], stages=["clean"]).success
    assert version() == before


SECRET = "correct-horse-battery"  # noqa: S105 - the test is that nobody sees it


@pytest.mark.parametrize(
    "server",
    [
        {"host": "127.0.0.1", "port": 1, "user": "u", "password": SECRET},
        {"url": f"postgresql://u:{SECRET}@127.0.0.1:1/db"},
    ],
    ids=["password", "url"],
)
def test_a_password_in_a_flow_is_shown_nowhere(tmp_path, server):
    home = SmallHome(tmp_path)
    home.write_raw(DAYS[0])
    home.write_flow(PARSE, {"treatment": "to_postgres", "input": "10_parsed", "params": server})
    with home.environment():
        specs = list(build_defs(home.home).resolve_all_asset_specs())
    assert len(specs) == 3
    shown = [json.dumps({name: str(v) for name, v in spec.metadata.items()}) for spec in specs]
    assert not [text for text in [*map(repr, specs), *shown] if SECRET in text]
    outcome = home.launch(DAYS[0])
    assert not outcome.success
    assert "postgres" in outcome.failure
    assert SECRET not in outcome.failure
    with home.instance() as instance:
        log = "\n".join(map(repr, instance.all_logs(outcome.run_id)))
    assert SECRET not in log
    for args in (("list", "steps"), ("check",), ("flow", "small", "--dry-run"), ("status",)):
        ended = home.procezo(*args)
        assert SECRET not in ended.out + ended.err


def test_names_of_columns_and_keys_are_no_markdown(tmp_path):
    home = SmallHome(tmp_path)
    parse = {**PARSE, "params": {"domains": {"values": {"columns": ["[[]*", "<*", "a*"]}}}}
    home.write_flow(parse)
    keys = ["<img src=x>", "[x](javascript&1)", "![x](data&1)", "a|b" + "c" * 300]
    line = ";".join(f"{key}:1" for key in keys)
    home.raw_file(f"x_<b>a|`b`_{DAYS[0]}.csv").write_text(f"2026-01-20T10:00:00Z;{line}\n")
    assert home.launch(DAYS[0]).success
    found = metadata(home, "parsed")
    shown = found["preview"].value + found["warnings"].value
    assert not re.search(r"(?<!\\)[<>\[\]`!&]", shown)
    assert shown.count("\\<b\\>a\\|\\`b\\`") == 2
    names = [column.name for column in found["dagster/column_schema"].value.columns]
    assert max(map(len, names)) == 100
