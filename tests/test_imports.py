"""Everything but the orchestration imports without Dagster."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys

import procezo_assets

# the only parts that may import dagster with them: `procezo --help` must not wait for it
_MAY = ("procezo_assets.orchestration", "procezo_assets.definitions")

_SCRIPT = """
import importlib, json, sys
loaded = {}
for name in json.loads(sys.argv[1]):
    importlib.import_module(name)
    loaded[name] = sorted(m for m in FORBIDDEN if m in sys.modules)
print(json.dumps(loaded))
"""


def core_modules():
    found = pkgutil.walk_packages(procezo_assets.__path__, "procezo_assets.")
    return [module.name for module in found if not module.name.startswith(_MAY)]


def loaded_by(modules, forbidden):
    script = _SCRIPT.replace("FORBIDDEN", repr(forbidden))
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(modules)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return json.loads(done.stdout)


def test_the_core_imports_without_dagster():
    modules = core_modules()
    assert len(modules) > 40

    guilty = {name: found for name, found in loaded_by(modules, ["dagster"]).items() if found}

    assert guilty == {}


def test_commands_do_not_wait_for_pandas_or_matplotlib():
    heavy = ["pandas", "pandera", "matplotlib", "psycopg", "adbc_driver_postgresql"]

    loaded = loaded_by(["procezo_assets.flows", "procezo_assets.runs"], heavy)

    assert loaded["procezo_assets.runs"] == []
