"""Everything that the shipped flow puts into Dagster, so that a change of the graph is seen.

To accept a change: PROCEZO_UPDATE_SNAPSHOTS=1 pytest tests/test_snapshot.py
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from small_home import SmallHome

from procezo_assets.orchestration.code_location import build_defs

ROOT = Path(__file__).parents[1]
SNAPSHOT = Path(__file__).parent / "snapshots" / "definitions.json"


def described(home: SmallHome) -> dict[str, object]:
    with home.environment():
        repository = build_defs().get_repository_def()
    assets = {
        node.key.to_user_string(): {
            "after": sorted(key.to_user_string() for key in node.parent_keys),
            "checks": sorted(check.name for check in node.check_keys),
            "blocking": sorted(
                check.name
                for check in node.check_keys
                if repository.asset_graph.get_check_spec(check).blocking
            ),
            "group": node.group_name,
            "kinds": sorted(node.kinds),
            "code_version": node.code_version,
            "backfill": node.backfill_policy and node.backfill_policy.policy_type.value,
            "partitions": sorted(
                dimension.name for dimension in node.partitions_def.partitions_defs
            ),
        }
        for node in repository.asset_graph.asset_nodes
    }
    return {
        "assets": dict(sorted(assets.items())),
        "jobs": sorted(job.name for job in repository.get_all_jobs() if job.name[0] != "_"),
        "schedules": {
            one.name: [one.cron_schedule, one.job_name, one.default_status.value]
            for one in repository.schedule_defs
        },
        "sensors": {
            one.name: [one.minimum_interval_seconds, one.default_status.value]
            for one in repository.sensor_defs
        },
    }


def test_the_definitions_of_the_shipped_flow(tmp_path):
    home = SmallHome(tmp_path)
    shutil.copytree(ROOT / "flows", tmp_path / "flows")
    found = described(home)
    text = json.dumps(found, indent=2, sort_keys=True) + "\n"
    if os.environ.get("PROCEZO_UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text(text)
    assert json.loads(text) == json.loads(SNAPSHOT.read_text())


def test_the_shipped_files_are_those_that_new_homes_start_with():
    templates = ROOT / "procezo_assets" / "templates"
    for shipped, template in (
        ("dagster.yaml", "dagster.yaml"),
        ("workspace.yaml", "workspace.yaml"),
        ("flows/valvometry.json", "valvometry.json"),
    ):
        assert (ROOT / shipped).read_bytes() == (templates / template).read_bytes()
