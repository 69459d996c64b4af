"""The code location that Dagster loads."""

from procezo_assets.garbage import kept_for_good

with kept_for_good():  # of 50 flows, looking for garbage would take a sixth of the time
    from procezo_assets.orchestration.code_location import build_defs

    defs = build_defs()
