"""Makes the screenshots of the documents from a finished demo run, while `afmrl ui` serves it.

    python docs/screenshots.py [--dagster URL] [--mlflow URL] [--profile demo] [--out docs/images]
    python docs/screenshots.py --search URL    # those of `afmrl serve` alone

Needs a Chromium on the PATH. A page that does not show what its picture is for ends the script with an error.
"""

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from urllib.parse import quote

import mlflow
from playwright.sync_api import Page, sync_playwright

PATIENCE_MS = 60_000
# Where this machine keeps its files is nobody's business.
WITHOUT_HOME = """home => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    texts.currentNode.nodeValue = texts.currentNode.nodeValue.replaceAll(home, "AFMRL_HOME");
  }
}"""


def chromium() -> str:
    """The path of the machine's own Chromium or Chrome."""
    for name in ("chromium", "google-chrome", "chromium-browser"):
        if path := shutil.which(name):
            return path
    sys.exit("no chromium, google-chrome or chromium-browser on the PATH")


def compare_page(mlflow_url: str, profile: str) -> str:
    """The address of MLflow's comparison of the newest `baseline` and `afmrl_cit` evaluations."""
    client = mlflow.MlflowClient(mlflow_url)
    experiment = client.get_experiment_by_name(profile)
    if experiment is None:
        sys.exit(f"{mlflow_url} has no experiment {profile!r}: run `afmrl demo` first")
    newest: dict[str, str] = {}
    for run in client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"]):
        newest[(run.info.run_name or "").split(" · ")[0]] = run.info.run_id
    try:
        runs = [newest["evaluation/baseline"], newest["evaluation/afmrl_cit"]]
    except KeyError as missing:
        sys.exit(f"experiment {profile!r} has no run {missing}")
    experiments = [experiment.experiment_id]
    query = f"runs={quote(json.dumps(runs))}&experiments={quote(json.dumps(experiments))}"
    return f"{mlflow_url}/#/compare-runs?{query}"


def shoot(
    page: Page,
    address: str,
    awaited: str,
    picture: Path,
    home: Path,
    press: str | None = None,
    scroll_to: str | None = None,
) -> None:
    """Saves what an address shows once `awaited` is seen; scrolls to a text, presses one, if asked to."""
    page.goto(address, wait_until="domcontentloaded", timeout=PATIENCE_MS)
    page.get_by_text(awaited).first.wait_for(timeout=PATIENCE_MS)
    assistant = page.get_by_role("button", name="Close", exact=True)
    if "#/compare-runs" in address and assistant.is_visible():
        assistant.click()  # MLflow's own, which covers a quarter of the page
    if scroll_to is not None:
        page.get_by_text(scroll_to, exact=True).first.evaluate(
            "text => text.scrollIntoView({block: 'start'})"
        )
    if press is not None:
        page.get_by_text(press).first.click(timeout=PATIENCE_MS)
        dialog = page.locator("[role=dialog], .bp5-dialog, .bp4-dialog")
        dialog.locator("img, table").first.wait_for(timeout=PATIENCE_MS)
    page.wait_for_timeout(2_000)  # layouts and pictures settle after their text is there
    page.evaluate(WITHOUT_HOME, str(home))
    page.screenshot(path=picture)
    print(f"{picture} ({picture.stat().st_size / 1000:.0f} kB)", flush=True)


def shoot_search(page: Page, address: str, picture: Path) -> None:
    """Searches with photo and title of one of the listings that the front page shows; saves the answer."""
    page.goto(address, timeout=PATIENCE_MS)
    card = page.locator("#answer .card").nth(11)
    photo = page.request.get(address + (card.locator("img").get_attribute("src") or "")).body()
    page.fill("#text", card.locator(".title").inner_text())
    page.set_input_files("#image", {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": photo})
    page.locator(".ask [type=submit]").click()
    page.locator("#answer .rank").first.wait_for(timeout=PATIENCE_MS)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=picture)
    print(f"{picture} ({picture.stat().st_size / 1000:.0f} kB)", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dagster", default="http://127.0.0.1:3000")
    parser.add_argument("--mlflow", default="http://127.0.0.1:5000")
    parser.add_argument("--profile", default="demo", help="name of the profile that is shown")
    parser.add_argument(
        "--home", type=Path, default=Path(os.environ.get("AFMRL_HOME", ".afmrl")), help="its AFMRL_HOME"
    )
    parser.add_argument("--search", help="address of `afmrl serve`: only its page is shot")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "images")
    given = parser.parse_args()
    assets = f"{given.dagster}/assets"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        if given.search:
            shoot_search(page, given.search.rstrip("/"), given.out / "search_page.png")
            return
        checks = f"{assets}/catalog/listings?view=checks&checkDetail"
        launchpad = f"{given.dagster}/locations/afmrl_dagster.definitions/jobs/round_0/playground"
        markdown = "[Show Markdown]"
        pages: list[tuple[str, str, str, str | None, str | None]] = [
            ("ui_graph", f"{given.dagster}/asset-groups", "Materialize all", None, None),
            ("ui_asset", f"{assets}/round_0/embedder", "loss_curve", None, None),
            ("ui_loss_curve", f"{assets}/round_0/embedder", "loss_curve", markdown, None),
            ("ui_check", f"{checks}=rows_accounted", markdown, markdown, None),
            ("ui_ablation", f"{assets}/release/ablation", markdown, markdown, None),
            ("ui_champion", f"{assets}/release/champion", "champion_before", None, "Metadata"),
            ("ui_automation", f"{given.dagster}/automation", "alert_failed_runs", None, None),
            ("ui_compare", compare_page(given.mlflow, given.profile), "recall_at_1", None, "Metrics"),
            ("ui_launchpad", launchpad, "bm25_scale", None, None),
        ]
        for name, address, awaited, press, scroll_to in pages:
            shoot(page, address, awaited, given.out / f"{name}.png", given.home.absolute(), press, scroll_to)
        browser.close()


if __name__ == "__main__":
    main()
