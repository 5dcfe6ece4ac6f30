"""M5Product and Product1M as they are published: what is read, what is refused, and why."""

import json
import tracemalloc
from pathlib import Path

import pytest
from published_folder import HELD_OUT, catalog_config, line, paint, write_json, write_lines

from afmrl_models.catalog import CatalogError, Reason, ingest, open_source
from afmrl_models.catalog.published.json_members import json_members
from afmrl_models.catalog.schema import read_table


def rows(folder: Path, kind: str, **keys: object) -> list:
    return list(open_source(catalog_config(folder, kind, **keys), folder).rows())


@pytest.fixture
def product1m(tmp_path: Path) -> Path:
    write_lines(tmp_path / "train.x", line("t1", "洗面奶"), line("t2", "口红"))
    write_lines(
        tmp_path / "gallery.x",
        line("g1", "AHC 水", ["A"]),
        line("g2", "眼霜", ["B"]),
        line("g3", "霜", ["C"]),
    )
    write_lines(tmp_path / "query.x", line("q1", "套装", ["B", "A", "B"]), line("q2", "瓶", ["C"]))
    write_lines(tmp_path / "dev.x", line("d1", "礼盒", ["A", "C"]))
    paint(tmp_path / "images", "t1", "t2", "g1", "g2", "g3", "q1", "q2", "d1")
    return tmp_path


def test_product1m_through_ingest(product1m: Path) -> None:
    (product1m / "images" / "t2.png").rename(product1m / "images" / "t2.jpeg")
    (product1m / "images" / "q2.png").unlink()
    config = catalog_config(product1m, "product1m", held_out=True)
    result = ingest(config, product1m / "out", product1m)
    assert (result.rows_read, result.kept, result.quarantined) == (8, 7, {"image_not_found": 1})
    table = read_table(product1m / "out" / "listings.parquet").set_index("listing_id")
    assert list(table.index) == ["g1", "g2", "g3", "q1", "d1", "t1", "t2"], "held-out files come first"
    assert table.loc["q1", "labels"] == ["A", "B"]
    assert (table.loc["q1", "product_id"], table.loc["g1", "product_id"]) == ("A#;#B", "A")
    assert table.loc["t1", ["labels", "product_id", "category"]].tolist() == [None, None, None]
    assert (table.loc["t2", "title"], table.loc["t2", "image_path"]) == ("口红", "t2.jpeg")
    bad = read_table(product1m / "out" / "quarantine.parquet")
    assert bad["listing_id"].tolist() == ["q2"]


def test_m5product_by_product_and_by_category(tmp_path: Path) -> None:
    write_json(
        tmp_path / "train.x",
        {
            "1": {"title": "红色 连衣裙", "label": "p7", "url": "https://a.example/1.jpg"},
            "2": {"title": "coat", "label": 12, "url": ""},
            "3": {"title": "shoe"},
            "4": {"title": "set", "label": ["p8", "p7"], "extra": {"nested": [1]}},
        },
    )
    paint(tmp_path / "images", "1", "2", "3", "4", suffix=".webp")
    ingest(catalog_config(tmp_path, "m5product"), tmp_path / "out", tmp_path)
    table = read_table(tmp_path / "out" / "listings.parquet")
    assert table["product_id"].tolist() == ["p7", "12", None, "p7#;#p8"]
    assert table["labels"].tolist() == [["p7"], ["12"], None, ["p7", "p8"]]
    assert table["title"].tolist() == ["红色 连衣裙", "coat", "shoe", "set"]
    ingest(catalog_config(tmp_path, "m5product", label="category"), tmp_path / "out", tmp_path)
    table = read_table(tmp_path / "out" / "listings.parquet")
    assert table["category"].tolist() == ["p7", "12", None, "p8"]
    assert table["product_id"].isna().all() and table["labels"].isna().all()


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_byte_order_marks_and_line_endings_change_nothing(tmp_path: Path, mark: str, newline: str) -> None:
    text = newline.join([line("1", "a", ["x"]), "", line("2", "b")])
    (tmp_path / "train.x").write_bytes((mark + text).encode())
    paint(tmp_path / "images", "1", "2")
    read = rows(tmp_path, "product1m")
    assert [
        (raw.values["listing_id"], raw.values["title"], raw.values["labels"], raw.problem) for raw in read
    ] == [
        ("1", "a", ["x"], None),
        ("2", "b", [], None),
    ]
    entries = json.dumps({"1": {"title": "a", "label": "x"}}, indent=1).replace("\n", newline)
    (tmp_path / "train.x").write_bytes((mark + entries).encode())
    assert [raw.values["listing_id"] for raw in rows(tmp_path, "m5product")] == ["1"]


BAD_LINES = {
    "tabs": ("1\ttitle\turl\turl\tlabel", Reason.RAGGED_ROW, "1 fields separated by #####"),
    "four marks": ("1####title####url####url####label", Reason.RAGGED_ROW, "1 fields"),
    "too few fields": ("1#####title#####url", Reason.RAGGED_ROW, "line 1: 3 fields"),
    "too many fields": ("1#####title#####u#####u#####l#####more", Reason.RAGGED_ROW, "6 fields"),
    "no id": ("#####title#####u#####u", Reason.MISSING_LISTING_ID, ""),
    "no title": ("1#####  #####u#####u", Reason.MISSING_TITLE, ""),
    "NUL in the title": ("1#####a\0b#####u#####u", Reason.MALFORMED_ROW, "line 1: it contains a NUL"),
    "NUL in the id": ("1\0#####ab#####u#####u", Reason.MALFORMED_ROW, "NUL"),
    "parent": ("../1#####a#####u#####u", Reason.INVALID_LISTING_ID, "'../1' cannot be the name of a photo"),
    "only dots": ("..#####a#####u#####u", Reason.INVALID_LISTING_ID, "'..'"),
    "absolute": ("/etc/passwd#####a#####u#####u", Reason.INVALID_LISTING_ID, "/etc/passwd"),
    "backslash": ("a\\b#####a#####u#####u", Reason.INVALID_LISTING_ID, "name of a photo"),
    "control character": ("1\x07#####a#####u#####u", Reason.INVALID_LISTING_ID, ""),
    "long id": ("1" * 300 + "#####a#####u#####u", Reason.INVALID_LISTING_ID, "300 characters"),
    "no photo": ("404#####a#####u#####u", Reason.IMAGE_NOT_FOUND, "404.jpg"),
    "a url as id": ("https://a.example/1#####a#####u#####u", Reason.INVALID_LISTING_ID, "https"),
    "long line": ("1#####" + "a" * (3 << 20) + "#####u#####u", Reason.MALFORMED_ROW, "line 1 is longer than"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_line_costs_itself(tmp_path: Path, case: str) -> None:
    bad, reason, detail = BAD_LINES[case]
    write_lines(tmp_path / "train.x", bad, line("good", "a title"))
    paint(tmp_path / "images", "1", "good")
    result = ingest(catalog_config(tmp_path, "product1m"), tmp_path / "out", tmp_path)
    assert (result.rows_read, result.kept, result.quarantined) == (2, 1, {reason.value: 1})
    quarantine = read_table(tmp_path / "out" / "quarantine.parquet")
    assert detail in quarantine["detail"].iloc[0]
    assert quarantine["row"].tolist() == [1]


@pytest.mark.parametrize("kind", ["product1m", "m5product"])
def test_bytes_that_are_not_utf8_cost_their_row(tmp_path: Path, kind: str) -> None:
    good = {"title": "a", "label": "x"}
    if kind == "product1m":
        text = "\n".join([line("1", "BAD"), line("2", "a", ["BAD"]), line("BAD", "a"), line("4", "a")])
    else:
        text = json.dumps(
            {"1": good | {"title": "BAD"}, "2": good | {"label": "BAD"}, "BAD": good, "4": good}
        )
    (tmp_path / "train.x").write_bytes(text.encode().replace(b"BAD", b"\xe9\xff"))
    paint(tmp_path / "images", "1", "2", "4")
    result = ingest(catalog_config(tmp_path, kind), tmp_path / "out", tmp_path)
    assert (result.kept, result.quarantined) == (1, {"undecodable_text": 3})


BAD_ENTRIES = {
    "text": (
        '"title"',
        Reason.MALFORMED_ROW,
        "line 2: an object with title and label is expected, this is str",
    ),
    "list": ("[1, 2]", Reason.MALFORMED_ROW, "list"),
    "number": ("17", Reason.MALFORMED_ROW, "int"),
    "null": ("null", Reason.MALFORMED_ROW, "NoneType"),
    "empty": ("{}", Reason.MISSING_TITLE, ""),
    "no title": ('{"label": "x"}', Reason.MISSING_TITLE, ""),
    "empty title": ('{"title": " ", "label": "x"}', Reason.MISSING_TITLE, ""),
    "title is a list": ('{"title": ["a"]}', Reason.MALFORMED_ROW, "'title' is no text but list"),
    "label is a mapping": (
        '{"title": "a", "label": {}}',
        Reason.MALFORMED_ROW,
        "'label' is no text but dict",
    ),
    "label of truth": (
        '{"title": "a", "label": [true]}',
        Reason.MALFORMED_ROW,
        "'label' is no text but bool",
    ),
    "NUL": ('{"title": "a\\u0000b", "label": "x"}', Reason.MALFORMED_ROW, "NUL"),
    "half a surrogate": ('{"title": "a\\ud800b"}', Reason.UNDECODABLE_TEXT, "title"),
}


@pytest.mark.parametrize("case", BAD_ENTRIES)
def test_a_bad_entry_costs_itself(tmp_path: Path, case: str) -> None:
    bad, reason, detail = BAD_ENTRIES[case]
    (tmp_path / "train.x").write_text(f'{{\n"1": {bad},\n"good": {{"title": "a"}}}}', encoding="utf-8")
    paint(tmp_path / "images", "1", "good")
    result = ingest(catalog_config(tmp_path, "m5product"), tmp_path / "out", tmp_path)
    assert (result.kept, result.quarantined) == (1, {reason.value: 1})
    quarantine = read_table(tmp_path / "out" / "quarantine.parquet")
    assert detail in quarantine["detail"].iloc[0] and quarantine["listing_id"].iloc[0] == "1"


BAD_FILES = {
    "empty": ("", r"line 1 \(character 1\).*the file is empty"),
    "a list": ("[]", r"line 1 .*not '\['"),
    "lines": (line("1", "a"), r"line 1 .*not '1'"),
    "UTF-16": ('{"1": {"title": "a"}}'.encode("utf-16"), r"line 1 \(character 1\)"),
    "cut off": ('{\n"1": {"title": "a"},\n"2": {"ti', r"line 3 \(character 3\d\).*[Uu]nterminated"),
    "no end": ('{"1": {"title": "a"}', r"a comma or a closing bracket is expected"),
    "trailing comma": ('{"1": {"title": "a"},\n}', r"line 2 .*a quoted id is expected"),
    "no colon": ('{"1" {"title": "a"}}', r"a colon is expected"),
    "no quotes": ('{1: {"title": "a"}}', r"a quoted id is expected"),
    "line break in a text": ('{"1": {"title": "a\nb"}}', r"line 1 .*[Ii]nvalid control character"),
    "raw NUL": ('{"1": {"title": "a\0b"}}', r"line 1 .*[Ii]nvalid control character"),
    "no comma": ('{"1": {"title": "a"}\n"2": {"title": "b"}}', r"line 2 .*a comma"),
    "text behind": ('{"1": {"title": "a"}}\n{}', r"line 2 .*text after the end"),
    "deep": ('{"1": ' + "[" * 200_000, r"line 1 .*nested too deeply"),
    "endless": ('{"1": {"title": "' + "a" * (9 << 20), r"no entry ends within"),
    "endless number": ('{"1": ' + "1" * 6000 + "}", r"line 1 "),
    "no entries": ("{}", r"the file has no entries"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_file_that_is_not_json_is_named_with_the_place(tmp_path: Path, case: str) -> None:
    content, message = BAD_FILES[case]
    (tmp_path / "train.x").write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "images").mkdir()
    with pytest.raises(CatalogError, match=message) as raised:
        rows(tmp_path, "m5product")
    assert str(tmp_path / "train.x") in str(raised.value)


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 1 << 17])
def test_members_do_not_depend_on_where_the_pieces_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr("afmrl_models.catalog.published.json_members._CHUNK", chunk)
    entries = {
        f'id "{i}"\n': {"title": "袋\\" * (i % 5), "label": i, "x": [{}, -1.5e3, None]} for i in range(40)
    }
    for indent in (None, 3):
        text = json.dumps(entries | {"n": 123}, ensure_ascii=indent is None, indent=indent)
        (tmp_path / "a.json").write_text(f" \n{text}\n ", encoding="utf-8")
        found = list(json_members(tmp_path / "a.json"))
        assert {key: value for _, key, value in found} == entries | {"n": 123}
        per_entry = 9 if indent else 0
        assert [number for number, _, _ in found][:3] == (
            [3, 3 + per_entry, 3 + 2 * per_entry] if indent else [2] * 3
        )


def test_ids_that_come_twice(tmp_path: Path) -> None:
    (tmp_path / "train.x").write_text('{"1": {"title": "a"}, "1": {"title": "b"}}', encoding="utf-8")
    paint(tmp_path / "images", "1")
    result = ingest(catalog_config(tmp_path, "m5product"), tmp_path / "out", tmp_path)
    assert (result.kept, result.quarantined) == (1, {"duplicate_listing_id": 1})
    assert read_table(tmp_path / "out" / "listings.parquet")["title"].tolist() == ["a"]


def test_a_listing_of_two_held_out_files_is_one_row_with_both_roles(product1m: Path) -> None:
    write_lines(product1m / "query.x", line("g1", "AHC 水", ["A"]), line("g2", "another title", ["B"]))
    source = open_source(catalog_config(product1m, "product1m", held_out=True), product1m)
    read = list(source.rows())
    assert [raw.values["listing_id"] for raw in read] == ["g1", "g2", "g3", "g2", "d1", "t1", "t2"]
    assert source.count_rows() == len(read)
    result = ingest(
        source_config := catalog_config(product1m, "product1m", held_out=True), product1m / "out", product1m
    )
    assert result.quarantined == {"duplicate_listing_id": 1}, (
        "equal ids with different titles are no one listing"
    )
    held_out = open_source(source_config, product1m).held_out()
    assert set(
        held_out.query("listing_id == 'g1'")[["split", "role"]].itertuples(index=False, name=None)
    ) == {
        ("test", "query"),
        ("test", "gallery"),
        ("validation", "gallery"),
    }


@pytest.mark.parametrize(
    ("leak", "message"),
    [
        (line("q1", "套装"), r"train\.x: line 3: listing 'q1' is also in query\.x"),
        (line("t3", "水", ["A"]), r"train\.x: line 3: listing 't3' shows 'A', which is in gallery\.x"),
    ],
)
def test_training_on_what_is_held_out_is_refused_or_quarantined(
    product1m: Path, leak: str, message: str
) -> None:
    write_lines(product1m / "train.x", line("t1", "洗面奶"), line("t2", "口红"), leak)
    paint(product1m / "images", "t3")
    with pytest.raises(CatalogError, match=message + r".*catalog\.source\.overlap"):
        rows(product1m, "product1m", held_out=True)
    config = catalog_config(product1m, "product1m", held_out=True, overlap="quarantine")
    result = ingest(config, product1m / "out", product1m)
    assert (result.kept, result.quarantined) == (8, {"held_out_elsewhere": 1})
    bad = read_table(product1m / "out" / "quarantine.parquet")
    assert bad["listing_id"].iloc[0] in leak


def test_a_category_that_is_trained_on_and_tested_is_no_leak(tmp_path: Path) -> None:
    for name in ("train", "query", "gallery", "dev"):
        write_json(tmp_path / f"{name}.x", {name: {"title": "a", "label": "袋"}})
    paint(tmp_path / "images", "train", "query", "gallery", "dev")
    assert len(rows(tmp_path, "m5product", held_out=True, label="category")) == 4
    with pytest.raises(CatalogError, match="shows '袋'"):
        rows(tmp_path, "m5product", held_out=True)


@pytest.mark.parametrize("labels", [None, [""], ["", " "]])
def test_a_held_out_row_without_label_is_quarantined(product1m: Path, labels: list[str] | None) -> None:
    write_lines(product1m / "query.x", line("q1", "套装", ["A"]), line("q2", "瓶", labels))
    result = ingest(catalog_config(product1m, "product1m", held_out=True), product1m / "out", product1m)
    assert result.quarantined == {"missing_label": 1}
    assert "query.x: line 2" in read_table(product1m / "out" / "quarantine.parquet")["detail"].iloc[0]


def test_files_that_are_missing_or_named_twice(product1m: Path) -> None:
    (product1m / "dev.x").unlink()
    with pytest.raises(
        CatalogError, match=r"dev\.x: no such file \(catalog\.source\.validation\.query\); there are:"
    ):
        rows(product1m, "product1m", held_out=True)
    with pytest.raises(CatalogError, match=r"query\.x: it is both catalog\.source\.train"):
        rows(product1m, "product1m", train=["query.x"], test=HELD_OUT["test"])
    with pytest.raises(CatalogError, match=r"no such folder \(catalog\.source\.path\)"):
        rows(product1m / "nowhere", "product1m")
    with pytest.raises(CatalogError, match=r"no such folder of photos \(catalog\.source\.images\)"):
        rows(product1m, "product1m", images=product1m / "photos")
    (product1m / "train.x").write_text("\n \n")
    with pytest.raises(CatalogError, match=r"train\.x: the file has no entries"):
        rows(product1m, "product1m")


def test_the_digest_follows_files_photos_and_roles_but_not_the_place(product1m: Path) -> None:
    def digest(folder: Path, **keys: object) -> str:
        return open_source(catalog_config(folder, "product1m", **keys), folder).digest()

    first = digest(product1m, held_out=True)
    assert first == digest(product1m, held_out=True)
    assert first != digest(product1m, test=HELD_OUT["test"])
    moved = product1m.rename(product1m.with_name("moved"))
    assert digest(moved, held_out=True) == first
    paint(moved / "images", "t1", suffix=".jpg")
    assert digest(moved, held_out=True) != first


def test_limit_is_for_each_file(product1m: Path) -> None:
    read = rows(product1m, "product1m", held_out=True, limit=1)
    assert [raw.values["listing_id"] for raw in read] == ["g1", "q1", "d1", "t1"]


@pytest.mark.parametrize("kind", ["product1m", "m5product"])
def test_memory_does_not_grow_with_the_training_file(tmp_path: Path, kind: str) -> None:
    def peak(count: int) -> int:
        if kind == "product1m":
            write_lines(tmp_path / "train.x", *(line(f"{i:012}", "title " * 8) for i in range(count)))
        else:
            write_json(
                tmp_path / "train.x",
                {f"{i:012}": {"title": "title " * 8, "label": str(i)} for i in range(count)},
            )
        source = open_source(catalog_config(tmp_path, kind), tmp_path)
        tracemalloc.start()
        try:
            assert source.count_rows() == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    (tmp_path / "images").mkdir()
    assert peak(12_000) < 1.3 * peak(4_000) + 100_000
