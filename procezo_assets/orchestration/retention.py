"""Old runs and their events, removed after a set number of days."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from procezo_assets.settings import load_settings

_BATCH = 200


def runs_to_prune(instance: dg.DagsterInstance, *, before: datetime) -> list[str]:
    """List finished runs older than an instant that nothing on show rests on.

    A run that holds the newest materialization of some partition stays: with its events the
    partition would count as missing.

    Args:
        instance: Dagster's instance.
        before: Runs created earlier than this are old.
    """
    old = [
        record.dagster_run.run_id
        for record in instance.get_run_records(dg.RunsFilter(created_before=before))
        if record.dagster_run.is_finished
    ]
    shown = _runs_on_show(instance) if old else set()
    return [run_id for run_id in old if run_id not in shown]


def _runs_on_show(instance: dg.DagsterInstance) -> set[str]:
    shown: set[str] = set()
    for key in instance.all_asset_keys():
        latest = instance.event_log_storage.get_latest_storage_id_by_partition(
            key, dg.DagsterEventType.ASSET_MATERIALIZATION
        )
        ids = list(latest.values())
        for start in range(0, len(ids), _BATCH):
            found = instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=key, storage_ids=ids[start : start + _BATCH]),
                limit=_BATCH,
            )
            shown.update(record.run_id for record in found.records)
    return shown


@dg.op
def prune_runs(context: dg.OpExecutionContext) -> None:
    """Remove runs older than PROCEZO_KEEP_RUNS_DAYS days, with their events and logs."""
    days = load_settings().keep_runs_days
    before = datetime.now(UTC) - timedelta(days=days)
    pruned = runs_to_prune(context.instance, before=before)
    for run_id in pruned:
        context.instance.delete_run(run_id)
    context.log.info("removed %d runs older than %d days", len(pruned), days)


@dg.job(description="Removes old runs and their events; no partition loses its newest one.")
def prune_old_runs() -> None:
    """Run `prune_runs`."""
    prune_runs()


prune_schedule = dg.ScheduleDefinition(
    name="prune_old_runs_daily",
    job=prune_old_runs,
    cron_schedule="23 4 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
