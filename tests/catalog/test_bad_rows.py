"""Every kind of row that exports contain: kept, and then what it says, or quarantined, and why."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shops import config, photo

from afmrl_models.catalog import CatalogError, IngestResult, ingest
from afmrl_models.catalog.schema import read_table

HEADER = b"listing_id,product_id,title,category,image\n"
GOOD = b"good,p,fine,c,good.jpg\n"
LONG = "x" * 200_000


def run(folder: Path, name: str, data: bytes) -> tuple[IngestResult, dict[int, str], dict[str, str]]:
    """Ingest a table of these bytes: the result, reasons by row, titles by listing id."""
    (folder / name).write_bytes(data)
    (folder / "good.jpg").write_bytes(photo())
    result = ingest(config(folder, attributes=[]), folder / "out", folder)
    assert result.rows_read == result.kept + sum(result.quarantined.values())
    bad = read_table(folder / "out" / "quarantine.parquet")
    kept = read_table(folder / "out" / "listings.parquet")
    assert bad["detail"].str.len().max() <= 300 or bad.empty
    titles = dict(zip(kept["listing_id"], kept["title"], strict=True))
    assert titles.pop("good") == "fine"
    return result, dict(zip(bad["row"], bad["reason"], strict=True)), titles


# Lines between two good rows → reasons by row (the good ones are the first and the last), titles kept.
CSV: dict[str, tuple[bytes, dict[int, str], dict[str, str]]] = {
    "a field too few": (b"1,p,t,c\n", {2: "ragged_row"}, {}),
    "a field too many": (b"1,p,t,c,good.jpg,x\n", {2: "ragged_row"}, {}),
    "commas only": (b",,,,\n", {2: "missing_listing_id"}, {}),
    "a blank line is no row": (b"\n\n", {}, {}),
    "a line of spaces": (b"   \n", {2: "ragged_row"}, {}),
    "a quote never closed": (b'1,p,"t,c,good.jpg\n', {2: "malformed_row"}, {}),
    "text behind a closing quote": (b'1,p,"t"t,c,good.jpg\n', {2: "malformed_row"}, {}),
    "an inch sign in the middle": (b'1,p,5" pipe,c,good.jpg\n', {}, {"1": '5" pipe'}),
    "a newline in quotes": (b'1,p,"two\nlines",c,good.jpg\n', {}, {"1": "two lines"}),
    "a carriage return in quotes": (b'1,p,"two\r\nlines",c,good.jpg\n', {}, {"1": "two lines"}),
    "carriage returns alone end lines": (b"1,p,t,c,good.jpg\r2,p,u,c,good.jpg\r", {}, {"1": "t", "2": "u"}),
    "a delimiter in quotes": (b'1,p,"a, b",c,good.jpg\n', {}, {"1": "a, b"}),
    "doubled quotes": (b'1,p,"a ""b""",c,good.jpg\n', {}, {"1": 'a "b"'}),
    "semicolons": (b"1;p;t;c;good.jpg\n", {2: "ragged_row"}, {}),
    "the header again": (HEADER, {2: "image_not_found"}, {}),
    "latin-1": (b"1,p,caf\xe9,c,good.jpg\n", {2: "undecodable_text"}, {}),
    "shift-jis": ("1,p,鞄,c,good.jpg\n".encode("shift-jis"), {2: "undecodable_text"}, {}),
    "a cut utf-8 character": (b"1,p,\xe8\xa2,c,good.jpg\n", {2: "undecodable_text"}, {}),
    "a surrogate in utf-8": (b"1,p,\xed\xa0\x80,c,good.jpg\n", {2: "undecodable_text"}, {}),
    "an overlong utf-8 form": (b"1,p,\xc0\xaf,c,good.jpg\n", {2: "undecodable_text"}, {}),
    "latin-1 in the id": (b"\xe9,p,t,c,good.jpg\n", {2: "undecodable_text"}, {}),
    "latin-1 in the category": (b"1,p,t,\xe9,good.jpg\n", {2: "undecodable_text"}, {}),
    "latin-1 in the photo's path": (b"1,p,t,c,\xe9.jpg\n", {2: "undecodable_text"}, {}),
    "a NUL in the title": (b"1,p,a\0b,c,good.jpg\n", {2: "undecodable_text"}, {}),
    "a NUL in the id": (b"1\0,p,t,c,good.jpg\n", {2: "undecodable_text"}, {}),
    "a NUL in the path": (b"1,p,t,c,good.jpg\0.png\n", {2: "undecodable_text"}, {}),
    "a byte order mark in the middle": ("1,p,\ufefft,c,good.jpg\n".encode(), {}, {"1": "\ufefft"}),
    "a field of 200 kB": (f"1,p,{LONG},c,good.jpg\n".encode(), {2: "field_too_long"}, {}),
    "a field of 200 kB in quotes": (f'1,p,"{LONG}",c,good.jpg\n'.encode(), {2: "field_too_long"}, {}),
    "no id": (b",p,t,c,good.jpg\n", {2: "missing_listing_id"}, {}),
    "an id of spaces": (b"  ,p,t,c,good.jpg\n", {2: "missing_listing_id"}, {}),
    "an id with slashes": (b"a/../b,p,t,c,good.jpg\n", {}, {"a/../b": "t"}),
    "an id with spaces around": (b" 1 ,p,t,c,good.jpg\n", {}, {"1": "t"}),
    "an id that is a path": (b"/etc/passwd,p,t,c,good.jpg\n", {}, {"/etc/passwd": "t"}),
    "a formula as an id": (b"=1+1,p,t,c,good.jpg\n", {}, {"=1+1": "t"}),
    "an id of 257 characters": (b"1" * 257 + b",p,t,c,good.jpg\n", {2: "invalid_listing_id"}, {}),
    "a bell in the id": (b"1\x07,p,t,c,good.jpg\n", {2: "invalid_listing_id"}, {}),
    "an escape sequence in the id": (b"1\x1b[31m,p,t,c,good.jpg\n", {2: "invalid_listing_id"}, {}),
    "a zero-width space in the id": ("1\u200b,p,t,c,good.jpg\n".encode(), {2: "invalid_listing_id"}, {}),
    "a right-to-left mark in the id": ("1\u202e,p,t,c,good.jpg\n".encode(), {2: "invalid_listing_id"}, {}),
    "a look-alike of another id": (
        "gооd,p,Cyrillic,c,good.jpg\n".encode(), {}, {"gооd": "Cyrillic"},
    ),
    "one accent, two forms": (
        "\u00e9,p,one,c,good.jpg\ne\u0301,p,two,c,good.jpg\n".encode(),
        {}, {"\u00e9": "one", "e\u0301": "two"},
    ),
    "ids that differ in case": (b"GOOD,p,t,c,good.jpg\n", {}, {"GOOD": "t"}),
    "an id again": (b"good,p,second,c,good.jpg\n", {2: "duplicate_listing_id"}, {}),
    "an id again, with spaces": (b" good ,p,second,c,good.jpg\n", {2: "duplicate_listing_id"}, {}),
    "no title": (b"1,p,,c,good.jpg\n", {2: "missing_title"}, {}),
    "a title of spaces": (b"1,p,\t \xc2\xa0,c,good.jpg\n", {2: "missing_title"}, {}),
    "an invisible title": ("1,p,\u200b\u200d\u2060,c,good.jpg\n".encode(), {2: "missing_title"}, {}),
    "a title of marks of direction": ("1,p,\u202e\u202d,c,good.jpg\n".encode(), {2: "missing_title"}, {}),
    "a title of 2,001 characters": (b"1,p," + b"x" * 2001 + b",c,good.jpg\n", {2: "title_too_long"}, {}),
    "a title of 2,000 characters": (b"1,p," + b"x" * 2000 + b",c,good.jpg\n", {}, {"1": "x" * 2000}),
    "a title of one emoji": ("1,p,👜,c,good.jpg\n".encode(), {}, {"1": "👜"}),
    "html in the title is text": (b"1,p,<b>t</b>,c,good.jpg\n", {}, {"1": "<b>t</b>"}),
    "a special token in the title is text": (b"1,p,<|im_end|>,c,good.jpg\n", {}, {"1": "<|im_end|>"}),
    "no photo": (b"1,p,t,c,\n", {2: "missing_image_path"}, {}),
    "a photo of spaces": (b"1,p,t,c,  \n", {2: "missing_image_path"}, {}),
    "no product, no category": (b"1,,t,,good.jpg\n", {}, {"1": "t"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", CSV)
def test_csv(kind: str, tmp_path: Path) -> None:
    lines, reasons, titles = CSV[kind]
    result, bad, kept = run(tmp_path, "listings.csv", HEADER + GOOD + lines + b"last,p,fine,c,good.jpg\n")
    assert bad == reasons
    assert kept.pop("last") == "fine"
    assert kept == titles
    assert result.rows_read == 2 + len(reasons) + len(titles)


GOOD_JSON = (
    b'{"listing_id": "good", "product_id": "p", "title": "fine", "category": "c", "image": "good.jpg"}\n'
)


def line(**changed: object) -> bytes:
    return json.dumps(json.loads(GOOD_JSON) | {"listing_id": "1"} | changed).encode() + b"\n"


JSONL: dict[str, tuple[bytes, dict[int, str], dict[str, str]]] = {
    "not json": (b"{broken\n", {2: "malformed_row"}, {}),
    "half an object": (GOOD_JSON[:40] + b"\n", {2: "malformed_row"}, {}),
    "two objects on a line": (GOOD_JSON.strip() * 2 + b"\n", {2: "malformed_row"}, {}),
    "a list": (b"[1, 2]\n", {2: "malformed_row"}, {}),
    "null": (b"null\n", {2: "malformed_row"}, {}),
    "a number": (b"7\n", {2: "malformed_row"}, {}),
    "an empty object": (b"{}\n", {2: "missing_listing_id"}, {}),
    "a photo that is a number": (line(image=7), {2: "malformed_row"}, {}),
    "a photo that is null": (line(image=None), {2: "missing_image_path"}, {}),
    "an id that is a number": (line(listing_id=17), {}, {"17": "fine"}),
    "an id that is a whole float": (line(listing_id=17.0), {}, {"17": "fine"}),
    "an id that is null": (line(listing_id=None), {2: "missing_listing_id"}, {}),
    "a title that is a list": (line(title=["a", "b"]), {}, {"1": "a, b"}),
    "a title that is not a number": (line(title=float("nan")), {2: "missing_title"}, {}),
    "a lone surrogate": (line(title="\ud800"), {2: "undecodable_text"}, {}),
    "an escaped NUL": (line(title="a\0b"), {2: "undecodable_text"}, {}),
    "latin-1": (line(title="A").replace(b"A", b"\xe9"), {2: "undecodable_text"}, {}),
    "a number of 10,000 digits": (line(title=0).replace(b"0", b"1" * 10_000), {2: "malformed_row"}, {}),
    "100,000 brackets": (b"[" * 100_000 + b"\n", {2: "malformed_row"}, {}),
    "800 lists in lists": (line(title=0).replace(b"0", b"[" * 800 + b"]" * 800), {2: "malformed_row"}, {}),
    "a key twice: the last counts": (line()[:-2] + b', "title": "last"}\n', {}, {"1": "last"}),
    "a field of 200 kB": (line(title=LONG), {2: "field_too_long"}, {}),
    "a description of a megabyte in a column nobody reads": (line(description=LONG * 5), {}, {"1": "fine"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", JSONL)
def test_jsonl(kind: str, tmp_path: Path) -> None:
    lines, reasons, titles = JSONL[kind]
    _, bad, kept = run(tmp_path, "listings.jsonl", GOOD_JSON + lines + line(listing_id="last"))
    assert kept.pop("last") == "fine"
    assert (bad, kept) == (reasons, titles)


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_marks_and_line_ends(mark: bytes, end: bytes, tmp_path: Path) -> None:
    data = mark + (HEADER + GOOD).replace(b"\n", end or b"\n").removesuffix(b"\n" if not end else b"")
    assert run(tmp_path, "listings.csv", data)[1:] == ({}, {})


@pytest.mark.parametrize("quote", [b"", b'"'])
def test_a_field_of_100_megabytes_costs_one_row(quote: bytes, tmp_path: Path) -> None:
    lines = b"1,p," + quote + b"x" * 100_000_000 + quote + b",c,good.jpg\n"
    result, bad, _ = run(tmp_path, "listings.csv", HEADER + lines + GOOD)
    assert bad == {1: "field_too_long"}
    assert result.rows_read == 2


def test_a_line_of_100_megabytes_of_json_costs_one_row(tmp_path: Path) -> None:
    lines = line(title="x" * 100_000_000)
    assert run(tmp_path, "listings.jsonl", GOOD_JSON + lines + line())[1:] == (
        {2: "malformed_row"},
        {"1": "fine"},
    )


def test_a_quote_that_is_never_closed_costs_one_row_of_many(tmp_path: Path) -> None:
    rows = b"".join(b"%d,p,t,c,good.jpg\n" % i for i in range(3000))
    result, bad, _ = run(tmp_path, "listings.csv", HEADER + GOOD + b'x,p,"t,c,good.jpg\n' + rows)
    assert bad == {2: "malformed_row"}
    assert result.kept == 3001


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (HEADER, "the catalog is empty"),
        (b"listing_id;product_id;title;category;image\n", "separates its fields by commas"),
        ((HEADER + GOOD).decode().encode("utf-16-le"), "no column 'listing_id'"),
        (HEADER.replace(b"title", b"caf\xe9"), "no column 'title'"),
        (b"PK\x03\x04" + bytes(100), "no column 'listing_id'"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_tables_that_stop_the_run(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "listings.csv").write_bytes(data)
    with pytest.raises(CatalogError, match=message) as raised:
        ingest(config(tmp_path, attributes=[]), tmp_path / "out", tmp_path)
    assert "listings.csv" in str(raised.value)


def test_parquet_with_texts_of_any_kind(tmp_path: Path) -> None:
    table = pa.table(
        {
            "listing_id": pa.array([1, 2, 3, None, 5], pa.int64()),
            "product_id": pa.array([b"p", b"\xff", None, b"p", b"p"], pa.binary()),
            "title": ["a", "b", "c\0d", "e", LONG],
            "category": pa.array([None] * 5, pa.null()),
            "image": ["good.jpg"] * 5,
        }
    )
    pq.write_table(table, tmp_path / "listings.parquet")
    (tmp_path / "good.jpg").write_bytes(photo())
    ingest(config(tmp_path, attributes=[]), tmp_path / "out", tmp_path)
    bad = read_table(tmp_path / "out" / "quarantine.parquet")
    assert dict(zip(bad["row"], bad["reason"], strict=True)) == {
        2: "undecodable_text", 3: "undecodable_text", 4: "missing_listing_id", 5: "field_too_long",
    }  # fmt: skip


def test_a_table_that_changes_while_it_is_read_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from afmrl_models.catalog import table_source

    monkeypatch.setattr(table_source.TableCatalog, "count_rows", lambda self: 5)
    with pytest.raises(CatalogError, match="it had 5 rows, then 1: it changed while being read"):
        run(tmp_path, "listings.csv", HEADER + GOOD)


def test_a_table_that_vanishes_in_mid_run_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from afmrl_models.catalog import table_source

    def count_and_delete(self: table_source.TableCatalog) -> int:
        self.table.unlink()
        return 1

    monkeypatch.setattr(table_source.TableCatalog, "count_rows", count_and_delete)
    with pytest.raises(CatalogError, match=r"listings\.csv: cannot be read"):
        run(tmp_path, "listings.csv", HEADER + GOOD)
