# /// script
# requires-python = ">=3.11"
# dependencies = ["playwright>=1.50"]
# ///
"""Take the README's screenshots of the Dagster UI.

Needs a running UI on a home where `procezo demo` has run, and Debian's chromium:

    make demo && make ui
    .venv/bin/uv run scripts/screenshots.py http://127.0.0.1:3000 docs/images
"""

from __future__ import annotations

import json
import re
import sys
import urllib.request
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
FLOW = "valvometry"
PARTITION = "VALVO-DEMO|2026-01-20"
_SETTLE_MS = 4_000


def main(base: str, folder: Path) -> None:
    """Take all screenshots."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        page = browser.new_page(viewport={"width": 1500, "height": 900})
        graph(page, base, folder / "asset-graph.png")
        plot(page, base, folder / "partition-plot.png")
        run(page, base, folder / "run.png")
        browser.close()


def graph(page: Page, base: str, path: Path) -> None:
    """The asset graph of the flow, wide enough for its details to show."""
    page.set_viewport_size({"width": 2500, "height": 800})
    group = f"{base}/locations/procezo_assets.definitions/asset-groups/{FLOW}/lineage"
    page.goto(location(base, group))
    page.wait_for_timeout(_SETTLE_MS)
    page.screenshot(path=path)
    page.set_viewport_size({"width": 1500, "height": 900})


def plot(page: Page, base: str, path: Path) -> None:
    """The plot in the metadata of one partition of `clean`."""
    page.goto(
        f"{base}/assets/{FLOW}/clean?view=partitions&partition={PARTITION.replace('|', '%7C')}"
    )
    page.wait_for_timeout(_SETTLE_MS)
    shows = page.get_by_text("Show Markdown")
    for index in range(shows.count()):
        shows.nth(index).click()
        page.wait_for_timeout(_SETTLE_MS // 2)
        if page.locator("img[src^='data:image/svg']").count():
            page.screenshot(path=path)
            return
        page.keyboard.press("Escape")
        page.wait_for_timeout(_SETTLE_MS // 4)
    raise SystemExit("no plot found in the partition's metadata")


def run(page: Page, base: str, path: Path) -> None:
    """The latest run."""
    found = ask(base, "{ runsOrError(limit: 1) { ... on Runs { results { runId } } } }")
    run_id = found["runsOrError"]["results"][0]["runId"]
    page.goto(f"{base}/runs/{run_id}")
    page.wait_for_timeout(_SETTLE_MS)
    page.screenshot(path=path)


def location(base: str, url: str) -> str:
    """Put the code location's own name into a URL."""
    found = ask(
        base,
        "{ repositoriesOrError { ... on RepositoryConnection "
        "{ nodes { name location { name } } } } }",
    )
    node = found["repositoriesOrError"]["nodes"][0]
    name = f"{node['name']}@{node['location']['name']}"
    return re.sub(r"/locations/[^/]+", f"/locations/{name}", url)


def ask(base: str, query: str) -> dict[str, Any]:
    """Ask Dagster's GraphQL."""
    request = urllib.request.Request(  # noqa: S310 - the user's own address
        f"{base}/graphql",
        data=json.dumps({"query": query}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:  # noqa: S310
        answer: dict[str, Any] = json.load(response)["data"]
    return answer


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), Path(sys.argv[2]))
