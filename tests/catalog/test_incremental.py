"""A night's run copies what an earlier one has decoded, and writes the same files as a full run."""

import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shops import config, photo, row, write_catalog

from afmrl_models.catalog import IngestResult, former_photos
from afmrl_models.catalog.changes import Changes, compare_tables, count_changes
from afmrl_models.catalog.images import PIXELS, ledger_name
from afmrl_models.catalog.ingest import ingest

PHOTOS = 30


def shop_rows(folder: Path) -> list[dict[str, str]]:
    """Listings with a photo each, and one row of several kinds of bad ones."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for i in range(PHOTOS):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    (folder / "broken.jpg").write_bytes(photo()[:300])
    bad = [
        row("broken", image="broken.jpg"),
        row("absent", image="absent.jpg"),
        row("no-title", title=""),
        row("l3", title="once more", image="3.png"),
    ]
    return [row(f"l{i}", image=f"{i}.png", title=f"bag {i}") for i in range(PHOTOS)] + bad


def change(folder: Path, rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """One listing gone, one new, one with another title, one with another photo; the rest in other places."""
    rows = [dict(r) for r in rows if r["listing_id"] != "l7"]
    rows[0]["title"] = "another title"
    (folder / "1.png").write_bytes(photo((1, 2, 3)))
    return [row("new", image="2.png"), *reversed(rows)]


def contents(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The photos of kept rows that are decoded from now on."""
    seen: list[bytes] = []
    plain = former_photos.decode

    def noted(data: bytes, size: int) -> np.ndarray:
        seen.append(data)
        return plain(data, size)

    monkeypatch.setattr(former_photos, "decode", noted)
    return seen


@pytest.fixture
def night(tmp_path: Path) -> tuple[Path, Path]:
    """A shop, and the folder of its first run."""
    shop, out = tmp_path / "shop", tmp_path / "out"
    write_catalog(shop, shop_rows(shop))
    first = ingest(config(shop), out, tmp_path)
    assert (first.decoded, first.changes) == (PHOTOS, Changes(PHOTOS, 0, 0, 0))
    return shop, out


def full(shop: Path, tmp_path: Path) -> tuple[IngestResult, dict[str, bytes]]:
    shutil.rmtree(tmp_path / "full", ignore_errors=True)
    result = ingest(config(shop), tmp_path / "full", tmp_path)
    return result, contents(tmp_path / "full")


@pytest.mark.parametrize("elsewhere", [False, True])
def test_only_changed_photos_are_decoded_and_the_files_are_a_full_runs(
    tmp_path: Path, night: tuple[Path, Path], decoded: list[bytes], elsewhere: bool
) -> None:
    shop, former = night
    write_catalog(shop, change(shop, shop_rows(shop)))
    decoded.clear()
    out = tmp_path / "tonight" if elsewhere else former
    result = ingest(config(shop), out, tmp_path, former=former)
    broken = (shop / "broken.jpg").read_bytes()
    assert sorted(data != broken for data in decoded) == [False, True]
    assert result.decoded == 1
    if not elsewhere:
        assert result.changes == Changes(new=1, changed=3, unchanged=PHOTOS - 4, deleted=1)
    expected, files = full(shop, tmp_path)
    assert contents(out) == files
    assert (result.kept, result.quarantined, result.digest) == (
        expected.kept,
        expected.quarantined,
        expected.digest,
    )


def test_a_night_without_changes_decodes_nothing(
    tmp_path: Path, night: tuple[Path, Path], decoded: list[bytes]
) -> None:
    shop, out = night
    before = contents(out)
    (shop / "broken.jpg").unlink()
    result = ingest(config(shop), out, tmp_path, former=out, workers=3)
    assert not decoded
    assert result.changes == Changes(0, 0, PHOTOS, 0)
    for name in ("listings.parquet", f"images/{PIXELS}"):
        assert contents(out)[name] == before[name]


def test_damaged_pixels_are_decoded_again(
    tmp_path: Path, night: tuple[Path, Path], decoded: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    shop, out = night
    pixels = out / "images" / PIXELS
    damaged = bytearray(pixels.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    pixels.write_bytes(damaged)
    with caplog.at_level(logging.WARNING):
        result = ingest(config(shop), out, tmp_path, former=out)
    assert result.decoded == 1
    assert "is damaged and is decoded again" in caplog.text
    assert contents(out) == full(shop, tmp_path)[1]


@pytest.mark.parametrize("file", ["pixels", "ledger"])
@pytest.mark.parametrize("harm", ["cut", "emptied", "noise", "gone", "short"])
def test_a_store_that_cannot_be_trusted_is_built_anew(
    tmp_path: Path, night: tuple[Path, Path], file: str, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    shop, out = night
    name = PIXELS if file == "pixels" else ledger_name(former_photos.decoder_version())
    path = out / "images" / name
    data = path.read_bytes()
    if harm == "gone":
        path.unlink()
    elif harm == "short":
        np.save(path, np.load(path)[:-1])
    else:
        path.write_bytes({"cut": data[:-1], "emptied": b"", "noise": b"x" * len(data)}[harm])
    with caplog.at_level(logging.WARNING):
        result = ingest(config(shop), out, tmp_path, former=out)
    assert result.decoded == PHOTOS
    assert (str(out / "images") in caplog.text) == (harm != "gone" or file == "pixels")
    assert contents(out) == full(shop, tmp_path)[1]


def test_another_size_or_decoder_decodes_all(
    tmp_path: Path, night: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, out = night
    larger = config(shop).model_copy(update={"image_size": 56})
    assert ingest(larger, tmp_path / "larger", tmp_path, former=out).decoded == PHOTOS
    with monkeypatch.context() as patched:
        patched.setattr(former_photos, "version", lambda library: f"another {library}")
        former_photos.decoder_version.cache_clear()
        assert ingest(config(shop), tmp_path / "other", tmp_path, former=out).decoded == PHOTOS
        assert ingest(config(shop), tmp_path / "again", tmp_path, former=tmp_path / "other").decoded == 0
    former_photos.decoder_version.cache_clear()


def test_changes_are_counted_by_listing(tmp_path: Path) -> None:
    changes = count_changes(["a", "b", "c"], np.array([True, True, False]), ["b", "c", "gone"])
    assert changes == Changes(new=1, changed=1, unchanged=1, deleted=1)
    assert count_changes([], np.zeros(0, dtype=bool), []) == Changes(0, 0, 0, 0)
    write_catalog(tmp_path / "shop", [row("a")])
    ingest(config(tmp_path / "shop"), tmp_path / "out", tmp_path)
    table = tmp_path / "out" / "listings.parquet"
    assert compare_tables(table, table) == Changes(0, 0, 1, 0)
    (tmp_path / "cut").write_bytes(table.read_bytes()[:50])
    for former in (tmp_path / "cut", tmp_path / "nowhere"):
        assert compare_tables(former, table) == Changes(1, 0, 0, 0)
