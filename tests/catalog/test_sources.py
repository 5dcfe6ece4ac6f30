import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from afmrl_models.catalog import CatalogError, Reason, open_source
from afmrl_models.config import CatalogConfig, ColumnMapping, GeneratedSource, TableSource

HEADER = "listing_id,product_id,title,category,image\n"


def config(
    path: Path, images: Path | None = None, limit: int | None = None, **columns: object
) -> CatalogConfig:
    mapping = ColumnMapping.model_validate(columns)
    return CatalogConfig(
        source=TableSource(kind="table", path=path, images=images, columns=mapping), limit=limit
    )


def test_csv_and_tsv_and_jsonl_and_parquet_yield_the_same_rows(tmp_path: Path) -> None:
    rows = [
        {
            "listing_id": "1",
            "product_id": "p",
            "title": 'A "big", red\nbag',
            "category": "袋",
            "image": "1.jpg",
        },
        {"listing_id": "2", "product_id": "p", "title": 'Zoll 5" rohr', "category": "", "image": "x/2.jpg"},
    ]
    quoted = [['"' + value.replace('"', '""') + '"' for value in row.values()] for row in rows]
    for suffix, delimiter in ((".csv", ","), (".tsv", "\t")):
        lines = [delimiter.join(rows[0]), *(delimiter.join(row) for row in quoted)]
        (tmp_path / f"a{suffix}").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    (tmp_path / "a.jsonl").write_text("\n\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    for suffix in (".csv", ".tsv", ".jsonl", ".parquet"):
        source = open_source(config(tmp_path / f"a{suffix}"), tmp_path)
        read = list(source.rows())
        assert [raw.row for raw in read] == [1, 2]
        assert [raw.problem for raw in read] == [None, None]
        assert [raw.image for raw in read] == ["1.jpg", "x/2.jpg"]
        for raw, row in zip(read, rows, strict=True):
            assert {key: raw.values[key] for key in ("listing_id", "product_id", "title", "category")} == {
                key: row[key] for key in ("listing_id", "product_id", "title", "category")
            }
        assert source.count_rows() == 2


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), "struct"])
def test_parquet_with_bytes_of_photos(tmp_path: Path, kind: object) -> None:
    bytes_of = [b"one", b"two", None]
    if kind == "struct":  # the form of HF datasets
        images = pa.array([{"bytes": data, "path": None} for data in bytes_of])
    else:
        images = pa.array(bytes_of, type=kind)
    table = pa.table({"sku": ["a", "b", "c"], "name": ["A", "B", "C"], "photo": images})
    pq.write_table(table, tmp_path / "listings.parquet", row_group_size=2)
    names = {"listing_id": "sku", "title": "name", "image": "photo", "product_id": None, "category": None}
    source = open_source(config(tmp_path, None, None, **names), tmp_path)
    assert [raw.image for raw in source.rows()] == bytes_of
    assert source.count_rows() == 3
    assert open_source(config(tmp_path, None, 2, **names), tmp_path).count_rows() == 2


def test_a_missing_column_is_named_with_the_columns_there_are(tmp_path: Path) -> None:
    (tmp_path / "listings.csv").write_text("listing_id,product_id,titel,category,image\n", encoding="utf-8")
    with pytest.raises(CatalogError) as raised:
        open_source(config(tmp_path), tmp_path)
    message = str(raised.value)
    assert str(tmp_path / "listings.csv") in message
    assert "no column 'title' (catalog.source.columns.title)" in message
    assert "'listing_id', 'product_id', 'titel', 'category', 'image'" in message
    assert "did you mean 'titel'?" in message


def test_a_missing_optional_column_says_how_to_go_without(tmp_path: Path) -> None:
    (tmp_path / "listings.csv").write_text("listing_id,title,category,image\n", encoding="utf-8")
    with pytest.raises(CatalogError, match="set product_id to null if the catalog has none"):
        open_source(config(tmp_path), tmp_path)
    open_source(config(tmp_path, product_id=None), tmp_path)


def test_a_missing_attribute_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "listings.csv").write_text(HEADER, encoding="utf-8")
    with pytest.raises(CatalogError, match=r"no column 'colour' \(catalog.source.columns.attributes\[0\]\)"):
        open_source(config(tmp_path, attributes=["colour"]), tmp_path)


@pytest.mark.parametrize("text", ["a;b;c\n1;2;3\n", "a\tb\n"])
def test_the_wrong_delimiter_is_pointed_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "listings.csv").write_text(text, encoding="utf-8")
    with pytest.raises(CatalogError, match="separates its fields by commas"):
        open_source(config(tmp_path), tmp_path)


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    (tmp_path / "listings.csv").write_text(
        "listing_id,product_id,title,title,category,image\n", encoding="utf-8"
    )
    with pytest.raises(CatalogError, match="two columns are named 'title'"):
        open_source(config(tmp_path), tmp_path)


def test_files_that_are_not_there_or_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"no such file or folder \(catalog.source.path\)"):
        open_source(config(tmp_path / "nowhere.csv"), tmp_path)
    with pytest.raises(CatalogError, match=r"exactly one of .*found: none"):
        open_source(config(tmp_path), tmp_path)
    for name, content, message in (
        ("empty.csv", b"", "the file is empty"),
        ("empty.jsonl", b"\n", "the catalog is empty"),
        ("broken.parquet", b"PAR1 no", "cannot be read as Parquet"),
        ("table.xlsx", b"", "a table's name ends in one of"),
        ("broken.csv", b'"listing_id,title\n', "the header cannot be read"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CatalogError, match=message) as raised:
            open_source(config(tmp_path / name), tmp_path)
        assert name in str(raised.value)
    (tmp_path / "listings.csv").write_text(HEADER, encoding="utf-8")
    with pytest.raises(CatalogError, match=r"no such folder of photos \(catalog.source.images\)"):
        open_source(config(tmp_path, images=tmp_path / "photos"), tmp_path)
    (tmp_path / "listings.tsv").write_text(HEADER, encoding="utf-8")
    with pytest.raises(CatalogError, match=r"found: listings.csv, listings.tsv"):
        open_source(config(tmp_path), tmp_path)


def test_a_stray_quote_costs_one_row(tmp_path: Path) -> None:
    lines = [
        "1,p,fine,c,1.jpg",
        '2,p,"opened and never closed,c,2.jpg',
        "3,p,fine,c,3.jpg",
        '4,p,"fine, too",c,4.jpg',
        '5,p,"closed" early,c,5.jpg',
        "6,p,a comma, too many,c,6.jpg",
        "7,p",
        "8,p,fine,c,8.jpg",
        '9,p,"open at the end,c,9.jpg',
    ]
    (tmp_path / "listings.csv").write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    source = open_source(config(tmp_path), tmp_path)
    rows = list(source.rows())
    assert len(rows) == source.count_rows() == 9
    problems = {raw.row: raw.problem for raw in rows}
    assert [row for row, problem in problems.items() if problem is None] == [1, 3, 4, 8]
    assert {row: p[0] for row, p in problems.items() if p} == {
        2: Reason.MALFORMED_ROW, 5: Reason.MALFORMED_ROW, 6: Reason.RAGGED_ROW,
        7: Reason.RAGGED_ROW, 9: Reason.MALFORMED_ROW,
    }  # fmt: skip
    assert problems[2] is not None and problems[2][1].startswith("line 3: ")
    assert problems[7] == (Reason.RAGGED_ROW, "line 8: 2 fields, the header has 5")


def test_rows_of_jsonl_that_are_no_objects(tmp_path: Path) -> None:
    good = {"listing_id": 1, "product_id": 2.0, "title": "t", "category": None, "image": "a.jpg"}
    lines = [json.dumps(good), "{broken", "[1, 2]", json.dumps(good | {"image": 7})]
    (tmp_path / "listings.jsonl").write_text("\n".join(lines), encoding="utf-8")
    rows = list(open_source(config(tmp_path), tmp_path).rows())
    assert [raw.problem and raw.problem[0] for raw in rows] == [None, *[Reason.MALFORMED_ROW] * 3]


def test_the_digest_follows_the_table_and_the_photos(tmp_path: Path) -> None:
    def digest() -> str:
        return open_source(config(tmp_path), tmp_path).digest()

    (tmp_path / "listings.csv").write_text(HEADER + "1,p,t,c,1.jpg\n", encoding="utf-8")
    without_photo = digest()
    (tmp_path / "1.jpg").write_bytes(b"123")
    with_photo = digest()
    assert without_photo != with_photo == digest()
    (tmp_path / "1.jpg").write_bytes(b"1234")
    assert digest() != with_photo
    (tmp_path / "1.jpg").write_bytes(b"123")
    (tmp_path / "unrelated.txt").write_bytes(b"1")
    assert digest() == with_photo
    (tmp_path / "listings.csv").write_text(HEADER + "1,p,T,c,1.jpg\n", encoding="utf-8")
    assert digest() != with_photo


def test_limit_reads_the_first_rows(tmp_path: Path) -> None:
    (tmp_path / "listings.csv").write_text(HEADER + "1,p,t,c,i\n2,p,t,c,i\n3,p,t,c,i\n", encoding="utf-8")
    source = open_source(config(tmp_path, limit=2), tmp_path)
    assert source.count_rows() == 2
    assert [raw.values["listing_id"] for raw in source.rows()] == ["1", "2"]


def test_the_generated_catalog_is_rendered_once_for_its_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from afmrl_models.catalog import generated

    calls: list[tuple[int, int]] = []

    def generate(products: int, seed: int, out: Path, progress: Callable[[int, int], None]) -> None:
        calls.append((products, seed))
        progress(products, products)
        header = "listing_id,product_id,seller,title,category,image,colour,volume\n"
        (out / "listings.csv").write_text(header + "1,p,s,t,c,images/1.jpg,red,\n", encoding="utf-8")
        if seed == 13:
            raise OSError("disk full")

    monkeypatch.setattr(generated, "generate_catalog", generate, raising=False)
    for seed in (0, 0, 1):
        source = open_source(
            CatalogConfig(source=GeneratedSource(kind="generated", products=8, seed=seed)), tmp_path
        )
        assert source.columns.attributes == ["colour", "volume"]
        assert source.columns.seller == "seller"
    assert calls == [(8, 0), (8, 1)]
    with pytest.raises(OSError, match="disk full"):
        open_source(CatalogConfig(source=GeneratedSource(kind="generated", products=8, seed=13)), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2  # nothing half rendered is left
