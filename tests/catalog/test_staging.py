"""A run killed at any moment leaves old tables, new tables or none, and no litter for ever."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from shops import FILES, config, row, write_catalog

from afmrl_models.catalog import CatalogError
from afmrl_models.catalog.ingest import ingest
from afmrl_models.catalog.schema import read_table
from afmrl_models.catalog.staging import made_once, staged

NAMES = ("images", "listings")


def write(out: Path, text: str) -> None:
    with staged(out, NAMES) as folder:
        (folder / "images").mkdir()
        (folder / "images" / "pixels").write_text(text)
        (folder / "listings").write_text(text)


def contents(out: Path) -> dict[str, str]:
    return {str(p.relative_to(out)): p.read_text() for p in sorted(out.rglob("*")) if p.is_file()}


def test_files_appear_together_and_other_files_stay(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, "one")
    (out / "mine").write_text("kept")
    write(out, "two")
    assert contents(out) == {"images/pixels": "two", "listings": "two", "mine": "kept"}


def test_a_failure_leaves_what_there_was(tmp_path: Path) -> None:
    write(tmp_path, "one")
    with pytest.raises(ZeroDivisionError), staged(tmp_path, NAMES) as folder:
        (folder / "listings").write_text("two")
        _ = 1 / 0
    assert contents(tmp_path) == {"images/pixels": "one", "listings": "one"}


@pytest.mark.parametrize("moves", range(5))
def test_a_kill_between_the_moves_is_brought_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int
) -> None:
    """The process dies before the given rename; the next one, which then fails by itself, ends the work."""
    write(tmp_path, "one")
    plain, count = Path.rename, 0

    class Killed(BaseException):
        pass

    def rename(self: Path, target: Path) -> Path:
        nonlocal count
        if count == moves:
            raise Killed
        count += 1
        return plain(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    if moves < 3:  # staged → ready, images, listings
        with pytest.raises(Killed):
            write(tmp_path, "two")
        if (tmp_path / "listings").exists():
            both = {(tmp_path / "listings").read_text(), (tmp_path / "images" / "pixels").read_text()}
            assert both == {"one"}
    else:
        write(tmp_path, "two")
    monkeypatch.undo()
    with pytest.raises(ZeroDivisionError), staged(tmp_path, NAMES):
        _ = 1 / 0
    expected = "two" if moves else "one"
    assert contents(tmp_path) == {"images/pixels": expected, "listings": expected}


def test_two_runs_do_not_write_at_once(tmp_path: Path) -> None:
    with staged(tmp_path, NAMES) as folder:
        with pytest.raises(CatalogError, match="another run is writing into it"), staged(tmp_path, NAMES):
            pass
        (folder / "images").mkdir()
        (folder / "listings").write_text("")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["images", "listings"]


def test_a_folder_is_made_once_and_never_half(tmp_path: Path) -> None:
    target = tmp_path / "made"
    (tmp_path / ".made.partial").mkdir()
    (tmp_path / ".made.partial" / "left by a killed process").touch()
    with pytest.raises(ZeroDivisionError), made_once(target) as folder:
        assert folder is not None and not list(folder.iterdir())
        _ = 1 / 0
    assert not list(tmp_path.iterdir())
    with made_once(target) as folder:
        assert folder is not None
        (folder / "file").touch()
    with made_once(target) as folder:
        assert folder is None
    assert [p.name for p in tmp_path.iterdir()] == ["made"]


def test_a_run_killed_in_the_middle_misleads_nobody_and_leaves_no_litter(tmp_path: Path) -> None:
    shop, out = tmp_path / "shop", tmp_path / "out"
    write_catalog(shop, [row("old")])
    ingest(config(shop), out, tmp_path)
    write_catalog(shop, [row(f"new-{i}") for i in range(200)])
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from afmrl_models.catalog import ingest as run\n"
        "from afmrl_models.catalog import table_source\n"
        "from shops import config\n"
        "plain = table_source.TableCatalog.rows\n"
        "def slow(self):\n"
        "    for i, raw in enumerate(plain(self)):\n"
        "        if i == 150: time.sleep(600)\n"
        "        yield raw\n"
        "table_source.TableCatalog.count_rows = lambda self: 200\n"
        "table_source.TableCatalog.rows = slow\n"
        "run(config(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, shop, out, tmp_path],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        deadline = time.monotonic() + 60
        while not (out / ".ingest.partial" / "images" / "pixels.npy").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert read_table(out / "listings.parquet")["listing_id"].tolist() == ["old"]
    write_catalog(shop, [row("next")])
    ingest(config(shop), out, tmp_path)
    assert read_table(out / "listings.parquet")["listing_id"].tolist() == ["next"]
    assert sorted(path.name for path in out.iterdir()) == FILES
