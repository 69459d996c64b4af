"""The code location that Dagster loads."""

from procezo_assets.orchestration.code_location import build_defs

defs = build_defs()
