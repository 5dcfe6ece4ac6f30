"""A person in a browser: an asset materialized by a click, its checks and metadata; MLflow's compare page.

The pages are those of `afmrl ui` over a small chain that `afmrl run` has made.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from mlflow import MlflowClient
from playwright.sync_api import Locator, Page, expect, sync_playwright
from test_ui import answers, free_ports
from tiny import configured

PATIENCE_MS = 60_000
CHAIN = '+key:"baseline/retrieval_metrics" or +key:"round_0/retrieval_metrics"'
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class House:
    """Where the chain lies and where it is shown."""

    home: Path
    dagster: str
    mlflow: str


@pytest.fixture(scope="module")
def browser_path() -> str:
    names = ("chromium", "google-chrome", "chromium-browser")
    if found := next(filter(None, map(shutil.which, names)), None):
        return found
    pytest.skip(f"none of {', '.join(names)} is on the PATH: apt-get install chromium")


@pytest.fixture(scope="module")
def house(browser_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("browser")
    config = configured(folder, evaluation={"bootstrap": 100, "tasks": ["fine_grained"], "oracle": False})
    home = folder / "home"
    ports = dict(zip(("--port", "--mlflow-port", "--docs-port"), map(str, free_ports(3)), strict=True))
    served = House(home, f"http://127.0.0.1:{ports['--port']}", f"http://127.0.0.1:{ports['--mlflow-port']}")
    environment = {
        **os.environ,
        "AFMRL_HOME": str(home),
        "DAGSTER_HOME": str(home / "dagster"),
        "AFMRL_MLFLOW_UI": served.mlflow,
    }
    afmrl = [sys.executable, "-m", "afmrl_dagster"]
    made = subprocess.run(
        [*afmrl, "run", "--config", str(config), "--select", CHAIN],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr[-3000:]
    log = folder / "ui.log"
    with log.open("w") as out:
        ui = subprocess.Popen(
            [*afmrl, "ui", "--config", str(config), *(part for option in ports.items() for part in option)],
            env=environment, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    try:
        for url in (f"{served.dagster}/server_info", f"{served.mlflow}/health"):
            assert answers(url), log.read_text(encoding="utf-8")[-3000:]
        yield served
    finally:
        ui.send_signal(signal.SIGTERM)
        ui.wait(timeout=60)


@pytest.fixture
def page(browser_path: str, tmp_path: Path) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(PATIENCE_MS)
        page.set_default_navigation_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        yield page
        page.screenshot(path=tmp_path / "last_seen.png")  # for whoever looks into a failure
        browser.close()


def visit(page: Page, address: str) -> None:
    page.goto(address, wait_until="domcontentloaded")


def metadata(page: Page, key: str) -> Locator:
    """The row of a metadata table."""
    return page.locator("tr").filter(has=page.get_by_text(key, exact=True))


def show_markdown(page: Page, row: Locator) -> Locator:
    """Press [Show Markdown] in a row; the dialog."""
    row.get_by_text("[Show Markdown]").click()
    dialog = page.locator("[role=dialog], .bp5-dialog, .bp4-dialog").last
    expect(dialog).to_be_visible()
    return dialog


BESIDE = """(grid, y) => [...grid.querySelectorAll("*")]
  .map(cell => [cell, cell.getBoundingClientRect()])
  .filter(([cell, at]) => !cell.children.length && at.top <= y && y <= at.bottom)
  .sort(([, one], [, other]) => one.left - other.left)
  .map(([cell]) => cell.textContent.trim()).filter(text => text)"""


def compared(page: Page) -> dict[str, list[float]]:
    """The metrics in view on MLflow's compare page: names and values are two grids side by side."""
    names, values = page.get_by_role("grid").first, page.get_by_role("grid").last
    expect(names.get_by_role("link").first).to_be_visible()
    window, shown = names.bounding_box(), {}
    for name in names.get_by_role("link").all():
        box = name.bounding_box()
        if box and window and box["y"] + box["height"] <= window["y"] + window["height"]:
            texts = values.evaluate(BESIDE, box["y"] + box["height"] / 2)
            shown[name.inner_text().strip()] = [float(text) for text in texts]
    return shown


def test_an_asset_is_materialized_by_clicks_and_shows_its_check_with_its_table(
    house: House, page: Page
) -> None:
    visit(page, f"{house.dagster}/asset-groups")
    expect(page.get_by_text("Materialize all").first).to_be_visible()
    groups = page.locator("foreignObject")
    expect(groups.filter(has_text="round_1")).to_be_visible()
    groups.filter(has_text="catalog").click()
    listings = groups.filter(has_text="listings")
    expect(listings).to_be_visible()
    listings.click()
    side = page.get_by_text("The listings that everything else works on")
    expect(side.first).to_be_visible()

    visit(page, f"{house.dagster}/assets/catalog/listings")
    page.get_by_role("button", name="Materialize").first.click()
    page.locator("a[href^='/runs/']").filter(has_text="View").click()  # of the message "Launched run …"
    expect(page).to_have_url(re.compile(r"/runs/[0-9a-f-]{36}"))
    expect(page.get_by_text("Success", exact=True).first).to_be_visible()

    visit(page, f"{house.dagster}/assets/catalog/listings?view=checks&checkDetail=rows_accounted")
    expect(page.get_by_text("Every row that was read is kept").first).to_be_visible()
    expect(page.get_by_text("Passed", exact=True).first).to_be_visible()
    dialog = show_markdown(page, metadata(page, "counts"))
    cells = dialog.locator("td").all_inner_texts()
    rows = len(pd.read_parquet(house.home / "tiny/catalog/listings/listings.parquet"))
    assert dialog.locator("th").all_inner_texts() and str(rows) in cells and "yes" in cells, cells


def test_an_asset_shows_its_rows_a_picture_and_the_way_to_its_mlflow_run(house: House, page: Page) -> None:
    visit(page, f"{house.dagster}/assets/catalog/listings")
    rows = len(pd.read_parquet(house.home / "tiny/catalog/listings/listings.parquet"))
    count = page.get_by_text("Row count", exact=True).first
    expect(count).to_be_visible()
    expect(page.get_by_text(str(rows), exact=True).first).to_be_visible()
    picture = show_markdown(page, metadata(page, "sample")).locator("img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 100

    visit(page, f"{house.dagster}/assets/round_0/embedder")
    curve = show_markdown(page, metadata(page, "loss_curve")).locator("img")
    assert curve.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    page.keyboard.press("Escape")
    link = metadata(page, "mlflow_run").get_by_role("link").first
    address = link.get_attribute("href") or ""
    assert address.startswith(f"{house.mlflow}/#/experiments/")
    visit(page, address)
    expect(page.get_by_text("round_0/embedder · seed 0").first).to_be_visible()


def test_two_evaluations_stand_side_by_side_with_the_same_metrics(house: House, page: Page) -> None:
    client = MlflowClient(house.mlflow)
    experiment = client.get_experiment_by_name("tiny").experiment_id
    runs = {run.info.run_name.partition(" · ")[0]: run for run in client.search_runs([experiment])}
    one, two = runs["evaluation/baseline"], runs["evaluation/agcl"]
    assert one.data.metrics.keys() == two.data.metrics.keys() >= {"fine_grained/recall_at_1"}

    ids = f'["{one.info.run_id}","{two.info.run_id}"]'
    visit(page, f'{house.mlflow}/#/compare-runs?runs={ids}&experiments=["{experiment}"]')
    expect(page.get_by_text("Comparing 2 Runs").first).to_be_visible()
    page.get_by_role("grid").last.scroll_into_view_if_needed()
    shown = compared(page)
    assert len(shown) >= 5 and list(shown) == sorted(one.data.metrics)[: len(shown)], shown
    for metric, values in shown.items():
        wanted = [run.data.metrics[metric] for run in (one, two)]
        assert values == pytest.approx(wanted, abs=1e-3), metric
