"""A dataset's raw folder, and sources that share its catalog."""

from __future__ import annotations

import os
from datetime import date

from procezo_assets.datasets import Home
from procezo_assets.raw.catalog import Catalog
from procezo_assets.raw.catalog_store import CatalogStore
from procezo_assets.raw.files import Limits
from procezo_assets.raw.quarantine import Quarantine
from procezo_assets.raw.source import RawSource
from procezo_assets.treatments.parse import ParseParameters

D24, D25, D26 = date(2026, 1, 24), date(2026, 1, 25), date(2026, 1, 26)
LIMITS = Limits(date(2020, 1, 1), date(2026, 1, 31))
NOW = 1_800_000_000.0


class Folder:
    """A dataset's raw folder, and sources that share its catalog."""

    def __init__(self, path):
        self.dataset = Home(path).dataset("GRACE")
        self.dataset.raw.mkdir(parents=True)

    def source(self, *, limits=LIMITS, removed="keep", keep=True, flow="f", **params):
        return RawSource(
            self.dataset,
            ParseParameters.model_validate(params),
            limits,
            output="10_parsed",
            catalog=Catalog(CatalogStore(self.dataset.catalog), flow, "GRACE"),
            removed=removed,
            keep=(lambda file: Quarantine(self.dataset, flow, file)) if keep else None,
        )

    def put(self, name, *days, at=NOW - 3600, text=None):
        path = self.dataset.raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text or "".join(f"{day}T08:00:00Z;m0:1\n" for day in days))
        os.utime(path, (at, at))
        return path
