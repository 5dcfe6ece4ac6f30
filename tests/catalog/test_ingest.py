import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from shops import FILES, config, photo, quarantined, row, write_catalog

from afmrl_models.catalog import (
    CatalogError,
    ImageStore,
    IngestResult,
    Reason,
    ingest,
    open_source,
    split_products,
)
from afmrl_models.catalog.checks import check_images_complete, check_rows_accounted, check_unique_ids
from afmrl_models.catalog.quarantine import DESCRIPTIONS
from afmrl_models.catalog.schema import LISTINGS, read_table
from afmrl_models.config import CatalogConfig, ColumnMapping, SplitsConfig, TableSource

REAL = Path(__file__).parents[2].parent / "shared" / "data"


def test_good_rows_become_listings_with_photos(tmp_path: Path) -> None:
    write_catalog(tmp_path / "shop", [row("a"), row("b", title="  Blue \n bag ", size="XL", product_id="")])
    result = ingest(config(tmp_path / "shop"), tmp_path / "out", tmp_path)
    assert (result.rows_read, result.kept, result.quarantined) == (2, 2, {})
    assert pq.read_schema(tmp_path / "out/listings.parquet").equals(LISTINGS)
    listings = read_table(tmp_path / "out/listings.parquet")
    assert listings["title"].tolist() == ["Red bag", "Blue bag"]
    assert listings["product_id"].tolist() == ["p1", None]
    assert listings["attributes"].tolist() == [{"colour": "red"}, {"colour": "red", "size": "XL"}]
    assert listings["image_path"].tolist() == ["good.jpg", "good.jpg"]
    assert listings["seller"].tolist() == [None, None]
    assert len(read_table(tmp_path / "out/quarantine.parquet")) == 0
    store = ImageStore.open(tmp_path / "out/images")
    assert np.abs(store.pixels(["a"])[0, 14, 14].astype(int) - (200, 30, 30)).max() < 6
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES


def test_each_bad_row_is_quarantined_with_its_reason(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    rows = [
        row("kept"),
        row("kept", title="the second of two"),
        row(""),
        row("i" * 300),
        row("bell\x07"),
        row("no-title", title="   "),
        row("invisible-title", title="\u200b\u200e"),
        row("long-title", title="x" * 10_000),
        row("no-image", image=""),
        row("remote", image="https://example.com/1.jpg"),
        row("absent", image="absent.jpg"),
        row("folder", image="."),
        row("null-byte", image="a\x00b.jpg"),
        row("endless", image="x" * 5000),
        row("outside", image="../secret.jpg"),
        row("outside-later", image="sub/../../secret.jpg"),
        row("outside-absolute", image="/etc/hostname"),
        row("sibling", image="../shop-2/secret.jpg"),
        row("zero", image="zero.jpg"),
        row("text", image="text.jpg"),
        row("truncated", image="truncated.jpg"),
        row("cmyk", image="cmyk.jpg"),
        row("alpha", image="alpha.png"),
        row("inside", image="sub/../good.jpg"),
        row("absolute", image=str(shop / "good.jpg")),
    ]
    write_catalog(shop, rows)
    with (shop / "listings.csv").open("ab") as file:
        file.write(b"latin-1,p,caf\xe9,c,good.jpg,red,\r\nshort,p\r\n")
    for path in (tmp_path / "secret.jpg", tmp_path / "shop-2" / "secret.jpg"):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(photo())
    (shop / "sub").mkdir()
    (shop / "zero.jpg").write_bytes(b"")
    (shop / "text.jpg").write_text("<html>not found</html>")
    (shop / "truncated.jpg").write_bytes(photo()[:300])
    (shop / "cmyk.jpg").write_bytes(photo((10, 200, 10, 0), "CMYK"))
    transparent = Image.new("P", (40, 40), 0)
    transparent.putpalette([1, 2, 3, 200, 100, 0])
    transparent.save(shop / "alpha.png", transparency=0)

    result = ingest(config(shop), tmp_path / "out", tmp_path)
    listings = read_table(tmp_path / "out/listings.parquet")
    assert listings["listing_id"].tolist() == ["kept", "cmyk", "alpha", "inside", "absolute"]
    assert listings["title"][0] == "Red bag"
    table = read_table(tmp_path / "out/quarantine.parquet")
    assert quarantined(tmp_path / "out") == {
        "kept": "duplicate_listing_id",
        None: "missing_listing_id",
        "i" * 256: "invalid_listing_id",
        "bell\x07": "invalid_listing_id",
        "no-title": "missing_title",
        "invisible-title": "missing_title",
        "long-title": "title_too_long",
        "no-image": "missing_image_path",
        "remote": "image_remote",
        "absent": "image_not_found",
        "folder": "image_not_found",
        "null-byte": "undecodable_text",
        "endless": "image_not_found",
        "outside": "image_outside_root",
        "outside-later": "image_outside_root",
        "outside-absolute": "image_outside_root",
        "sibling": "image_outside_root",
        "zero": "image_unreadable",
        "text": "image_unreadable",
        "truncated": "image_unreadable",
        "latin-1": "undecodable_text",
        "short": "ragged_row",
    }
    details = dict(zip(table["row"], table["detail"], strict=True))
    assert details[2] == "row 1 has this id and was kept"
    assert details[8] == "10000 characters, at most 2000"
    assert max(map(len, details.values())) <= 300
    assert result.rows_read == len(rows) + 2 == result.kept + sum(result.quarantined.values())
    assert result.quarantined["image_not_found"] == 3
    assert check_rows_accounted(result.rows_read, listings, table).passed
    assert check_unique_ids(listings).passed
    assert check_images_complete(listings, ImageStore.open(tmp_path / "out/images")).passed
    assert not check_images_complete(listings.iloc[1:], ImageStore.open(tmp_path / "out/images")).passed


def test_of_two_rows_with_one_id_the_first_valid_one_stays(tmp_path: Path) -> None:
    write_catalog(tmp_path / "shop", [row("a", image="absent.jpg"), row("a", title="2"), row("a", title="3")])
    ingest(config(tmp_path / "shop"), tmp_path / "out", tmp_path)
    assert read_table(tmp_path / "out/listings.parquet")["title"].tolist() == ["2"]
    table = read_table(tmp_path / "out/quarantine.parquet")
    assert table[["row", "reason"]].values.tolist() == [[1, "image_not_found"], [3, "duplicate_listing_id"]]


def test_order_is_kept_over_many_rows(tmp_path: Path) -> None:
    ids = [f"l{i}" for i in range(700)]
    write_catalog(tmp_path / "shop", [row(i) for i in ids])
    ingest(config(tmp_path / "shop"), tmp_path / "out", tmp_path)
    assert read_table(tmp_path / "out/listings.parquet")["listing_id"].tolist() == ids
    assert ImageStore.open(tmp_path / "out/images").listing_ids == ids


def test_the_output_does_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    write_catalog(shop, [row(f"l{i % 290}", image=f"{i % 7}.jpg", title="t" * (i % 50)) for i in range(300)])
    for i in range(6):
        (shop / f"{i}.jpg").write_bytes(photo((i * 40, 30, 30)))
    written = []
    for workers in (1, 2, 7):
        out = tmp_path / f"out-{workers}"
        ingest(config(shop), out, tmp_path, workers=workers)
        written.append({p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()})
    assert len(written[0]) == 6
    assert written[0] == written[1] == written[2]


def test_examples_of_each_reason_show_the_photo_where_there_is_one(tmp_path: Path) -> None:
    rows = [
        row("kept"),
        *[row(f"untitled-{i}", title="") for i in range(5)],
        row("absent", image="absent.jpg"),
    ]
    write_catalog(tmp_path / "shop", rows)
    ingest(config(tmp_path / "shop"), tmp_path / "out", tmp_path)
    examples = read_table(tmp_path / "out/quarantine_examples.parquet")
    assert examples["listing_id"].tolist() == ["untitled-0", "untitled-1", "untitled-2", "absent"]
    assert examples["photo"].notna().tolist() == [True, True, True, False]
    with Image.open(io.BytesIO(examples["photo"][0])) as shown:
        assert np.abs(np.asarray(shown)[14, 14].astype(int) - (200, 30, 30)).max() < 6


def test_a_share_above_the_limit_stops_the_run_and_leaves_the_earlier_tables(tmp_path: Path) -> None:
    shop, out = tmp_path / "shop", tmp_path / "out"
    write_catalog(shop, [row("a"), row("b")])
    ingest(config(shop, share=0.2), out, tmp_path)
    write_catalog(shop, [row("a", title="new"), row("b", image="absent.jpg"), row("c", title="")])
    with pytest.raises(CatalogError) as raised:
        ingest(config(shop, share=0.2), out, tmp_path)
    message = str(raised.value)
    assert (
        "listings.csv: 2 of 3 rows were quarantined, more than catalog.max_quarantined_share = 0.2" in message
    )
    assert "1 × image_not_found" in message and "First: row 2, listing 'b'" in message
    assert read_table(out / "listings.parquet")["title"].tolist() == ["Red bag", "Red bag"]
    assert len(ImageStore.open(out / "images")) == 2
    assert quarantined(out) == {}
    assert len(read_table(out / "quarantine.failed.parquet")) == 2

    write_catalog(shop, [row("a", title="new")])
    ingest(config(shop, share=0.2), out, tmp_path)
    assert read_table(out / "listings.parquet")["title"].tolist() == ["new"]
    assert sorted(p.name for p in out.iterdir()) == FILES


def test_empty_catalogs_and_catalogs_without_a_valid_row(tmp_path: Path) -> None:
    write_catalog(tmp_path / "shop", [])
    with pytest.raises(CatalogError, match=r"listings.csv: the catalog is empty"):
        ingest(config(tmp_path / "shop"), tmp_path / "out", tmp_path)
    write_catalog(tmp_path / "shop", [row("a", title="")])
    with pytest.raises(CatalogError, match=r"listings.csv: no valid row among 1"):
        ingest(config(tmp_path / "shop"), tmp_path / "out", tmp_path)
    with pytest.raises(CatalogError, match="no column 'brand'"):
        ingest(config(tmp_path / "shop", attributes=["brand"]), tmp_path / "out", tmp_path)
    with pytest.raises(CatalogError, match="no such file"):
        ingest(config(tmp_path / "nowhere"), tmp_path / "out", tmp_path)


def test_parquet_with_bytes_and_without_product_ids(tmp_path: Path) -> None:
    data = [photo(), b"", None, photo((0, 0, 250))]
    table = {
        "listing_id": ["a", "b", "c", "d"],
        "title": ["t"] * 4,
        "image": data,
        "year": [2011.0, 1.5, None, 7.0],
    }
    table |= {"details": pa.array([[("Sleeve", "long")]] * 4, type=pa.map_(pa.string(), pa.string()))}
    pq.write_table(pa.table(table), tmp_path / "listings.parquet")
    settings = config(tmp_path, product_id=None, category=None, attributes=["year", "details"])
    result = ingest(settings, tmp_path / "out", tmp_path)
    assert result.quarantined == {"missing_image_path": 1, "image_unreadable": 1}
    listings = read_table(tmp_path / "out/listings.parquet")
    assert listings["product_id"].tolist() == [None, None]
    assert listings["image_path"].tolist() == ["listings.parquet#a", "listings.parquet#d"]
    assert listings["attributes"].tolist() == [
        {"year": "2011", "Sleeve": "long"},
        {"year": "7", "Sleeve": "long"},
    ]
    assert ImageStore.open(tmp_path / "out/images").get("d").getpixel((14, 14))[2] > 200  # type: ignore[index]


def test_the_content_hash_covers_every_field_and_the_photo(tmp_path: Path) -> None:
    def hashes(name: str, **changed: str) -> list[str]:
        write_catalog(tmp_path / name, [row("a", **changed)])
        (tmp_path / name / "other.jpg").write_bytes(photo())
        ingest(config(tmp_path / name), tmp_path / "out", tmp_path)
        return read_table(tmp_path / "out/listings.parquet")["content_hash"].tolist()

    changes = [
        {"title": "x"},
        {"product_id": "x"},
        {"category": "x"},
        {"colour": "x"},
        {"image": "other.jpg"},
    ]
    seen = [hashes("shop"), *(hashes("shop", **change) for change in changes)]
    assert len({h for (h,) in seen}) == 1 + len(changes)
    assert all(len(h) == hashlib.sha256().digest_size * 2 for (h,) in seen)
    assert hashes("elsewhere") == seen[0]
    (tmp_path / "elsewhere" / "good.jpg").write_bytes(photo((1, 2, 3)))
    ingest(config(tmp_path / "elsewhere"), tmp_path / "out", tmp_path)
    assert read_table(tmp_path / "out/listings.parquet")["content_hash"].tolist() != seen[0]


def test_the_result_digest_is_that_of_the_content(tmp_path: Path) -> None:
    def digest(rows: list[dict[str, str]]) -> IngestResult:
        write_catalog(tmp_path / "shop", rows)
        return ingest(config(tmp_path / "shop"), tmp_path / "out", tmp_path)

    first = digest([row("a"), row("b")])
    assert digest([row("a"), row("b")]) == first
    assert digest([row("b"), row("a")]).digest != first.digest
    assert digest([row("a"), row("b"), row("c", title="")]).digest != first.digest


def test_every_reason_is_described() -> None:
    assert set(DESCRIPTIONS) == set(Reason)
    assert all(reason.description.endswith(".") for reason in Reason)
    documented = (Path(__file__).parents[2] / "docs" / "catalog.md").read_text(encoding="utf-8")
    rows = [
        line
        for line in documented.splitlines()
        if line.startswith("| `") and line.split("`")[1] in set(Reason)
    ]
    assert rows == [f"| `{reason}` | {reason.description} |" for reason in Reason]


REAL_CATALOGS = {
    "fashion": {"seller": "seller", "attributes": ["gender", "type", "colour", "season", "year", "usage"]},
    "grocery": {"description": "description", "attributes": ["brand", "variant", "aisle"]},
    "fashion_parquet": {"product_id": None, "attributes": ["gender", "colour", "season", "usage"]},
}


@pytest.mark.parametrize("name", REAL_CATALOGS)
def test_a_real_catalog(name: str, tmp_path: Path) -> None:
    if not (REAL / name).is_dir():
        pytest.skip(f"the real catalog {name} is not at {REAL / name}")
    columns = ColumnMapping.model_validate(REAL_CATALOGS[name])
    source = TableSource(kind="table", path=REAL / name, columns=columns)
    result = ingest(CatalogConfig(source=source, limit=300), tmp_path / "out", tmp_path)
    assert (result.rows_read, result.kept, result.quarantined) == (300, 300, {})
    listings = read_table(tmp_path / "out/listings.parquet")
    store = ImageStore.open(tmp_path / "out/images")
    assert check_images_complete(listings, store).passed
    pixels = store.pixels(listings["listing_id"].tolist())
    assert pixels.shape == (300, 56, 56, 3)
    assert pixels.reshape(300, -1).std(axis=1).min() > 1  # no photo is blank
    stated = {key for attributes in listings["attributes"] for key in attributes}
    assert {"colour"} <= stated <= set(columns.attributes) or stated == {"variant", "aisle"}
    products = listings["product_id"].nunique()
    assert products == 0 if columns.product_id is None else products > 3
    split = split_products(listings, SplitsConfig())
    assert set(split["split"]) == {"train", "validation", "test"}


def test_jsonl_with_numbers_lone_surrogates_and_nested_attributes(tmp_path: Path) -> None:
    good = {"listing_id": 1, "product_id": 2.0, "title": "t", "category": None, "image": "good.jpg"}
    rows = [
        good | {"attributes": {"colour": "red", "sizes": ["S", "M"], "sold": True, "nothing": None}},
        good | {"listing_id": "broken \ud800 id"},
        good | {"listing_id": 2, "title": "\udfff"},
        good | {"listing_id": 3, "image": "\ud800.jpg"},
        good | {"listing_id": 4, "attributes": {"colour": "\ud800"}},
    ]
    (tmp_path / "good.jpg").write_bytes(photo())
    (tmp_path / "listings.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    settings = config(tmp_path, attributes=["attributes"])
    assert len(open_source(settings, tmp_path).digest()) == 64
    result = ingest(settings, tmp_path / "out", tmp_path)
    assert result.quarantined == {"undecodable_text": 4}
    kept = read_table(tmp_path / "out/listings.parquet").iloc[0]
    assert (kept["listing_id"], kept["product_id"], kept["category"]) == ("1", "2", None)
    assert kept["attributes"] == {"colour": "red", "sizes": "S, M", "sold": "true"}


def test_an_export_that_misses_most_of_the_last_runs_listings_stops_the_run(tmp_path: Path) -> None:
    shop, out = tmp_path / "shop", tmp_path / "out"
    guarded = config(shop).model_copy(update={"max_deleted_share": 0.3})
    write_catalog(shop, [row(name) for name in "abcd"])
    ingest(config(shop), out, tmp_path)
    write_catalog(shop, [row("a"), row("b"), row("e")])
    with pytest.raises(CatalogError, match=r"listings.csv: 2 of the last run's 4 listings are not in it"):
        ingest(guarded, out, tmp_path)
    assert read_table(out / "listings.parquet")["listing_id"].tolist() == list("abcd")
    write_catalog(shop, [row("a"), row("b"), row("c"), row("e")])
    ingest(guarded, out, tmp_path)
    assert read_table(out / "listings.parquet")["listing_id"].tolist() == ["a", "b", "c", "e"]

    write_catalog(shop, [row("a")])
    ingest(config(shop), out, tmp_path)
    assert read_table(out / "listings.parquet")["listing_id"].tolist() == ["a"]
