"""One catalog in every form it may be handed over in, and behind a real server."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shops import config, photo, quarantined, row, write_catalog

from afmrl_models.catalog import CatalogError, ingest, open_source
from afmrl_models.catalog.remote import is_allowed
from afmrl_models.catalog.schema import read_table
from afmrl_models.config import CatalogConfig, ColumnMapping, TableSource

ROWS = [row("a", title='A "big",\tred\nbag'), row("b", title="袋"), row("c", title="")]


def write(folder: Path, name: str) -> Path:
    """ROWS as a file of this name, with their photo beside it."""
    folder.mkdir(exist_ok=True)
    (folder / "good.jpg").write_bytes(photo())
    delimiter = "\t" if ".tsv" in name else ","
    if ".jsonl" in name:
        text = "\n".join(json.dumps(r, ensure_ascii=False) for r in ROWS)
    else:
        quoted = [['"' + value.replace('"', '""') + '"' for value in r.values()] for r in ROWS]
        text = "\n".join(delimiter.join(line) for line in ([*ROWS[0]], *quoted))
    path = folder / name
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    elif name.endswith(".zst"):
        with pa.output_stream(str(path), compression="zstd") as file:
            file.write(text.encode())
    elif name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif name.endswith(".utf-16"):
        path = path.with_suffix("")
        path.write_bytes(text.encode("utf-16"))
    else:
        path.write_bytes(text.encode())
    return path


NAMES = [f"listings{kind}{packed}" for kind in (".csv", ".tsv", ".jsonl") for packed in ("", ".gz", ".zst")]


@pytest.mark.parametrize("name", [*NAMES, "listings.parquet", "listings.csv.utf-16", "listings.jsonl.utf-16"])
def test_every_form_gives_the_same_tables(name: str, tmp_path: Path) -> None:
    write(tmp_path / "shop", name)
    result = ingest(config(tmp_path / "shop"), tmp_path / "out", tmp_path)
    assert (result.rows_read, result.kept, result.quarantined) == (3, 2, {"missing_title": 1})
    assert read_table(tmp_path / "out/listings.parquet")["title"].tolist() == ['A "big", red bag', "袋"]
    write(tmp_path / "plain", "listings.csv")
    assert ingest(config(tmp_path / "plain"), tmp_path / "out", tmp_path).digest == result.digest


@pytest.mark.parametrize("name", ["listings.csv.gz", "listings.csv.zst", "listings.jsonl.gz"])
@pytest.mark.parametrize("damage", ["cut", "not compressed"])
def test_a_damaged_archive_stops_the_run(name: str, damage: str, tmp_path: Path) -> None:
    path = write(tmp_path / "shop", name)
    path.write_bytes(path.read_bytes()[:-30] if damage == "cut" else b"listing_id,title\n1,2\n" * 9)
    with pytest.raises(CatalogError, match=name):
        ingest(config(tmp_path / "shop"), tmp_path / "out", tmp_path)
    assert not (tmp_path / "out" / "listings.parquet").exists()


def test_a_folder_of_save_to_disk(tmp_path: Path) -> None:
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value

    features = Features(
        {
            "sku": Value("string"),
            "name": Value("string"),
            "kind": ClassLabel(names=["Bags", "Shoes"]),
            "photo": Image(),
        }
    )
    stated = {"sku": ["a", "b", "c"], "name": ["A", "B", "C"], "kind": [0, 1, None]}
    images = [
        {"bytes": photo(), "path": None},
        {"bytes": b"no photo", "path": None},
        {"bytes": photo(), "path": None},
    ]
    saved = Dataset.from_dict(stated | {"photo": images}, features=features)
    saved.save_to_disk(str(tmp_path / "saved"))
    names = {"listing_id": "sku", "title": "name", "image": "photo", "product_id": None, "category": "kind"}
    source = TableSource(kind="table", path=tmp_path / "saved", columns=ColumnMapping.model_validate(names))
    settings = CatalogConfig(source=source, image_size=28, max_quarantined_share=1, max_deleted_share=1)
    result = ingest(settings, tmp_path / "out", tmp_path)
    assert (result.kept, result.quarantined) == (2, {"image_unreadable": 1})
    assert read_table(tmp_path / "out/listings.parquet")["category"].tolist() == ["Bags", None]
    opened = open_source(settings, tmp_path)
    assert opened.count_rows() == 3 and len(opened.digest()) == 64
    DatasetDict({"train": saved}).save_to_disk(str(tmp_path / "splits"))
    source = source.model_copy(update={"path": tmp_path / "splits"})
    with pytest.raises(CatalogError, match="name the folder of one of: train"):
        open_source(CatalogConfig(source=source), tmp_path)
    next((tmp_path / "saved").glob("*.arrow")).unlink()
    with pytest.raises(CatalogError, match="cannot be read as a saved dataset"):
        open_source(settings, tmp_path)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The folder behind an HTTP server on loopback; /moved redirects, /broken is an error."""

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/moved"):
                self.send_response(302)
                self.send_header("Location", "/good.jpg")
                self.end_headers()
            elif self.path.startswith("/broken"):
                self.send_error(500)
            else:
                super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def remote(path: str | Path, allowed: list[str], images: str | None = None) -> CatalogConfig:
    columns = ColumnMapping(attributes=["colour", "size"])
    source = TableSource(kind="table", path=path, images=images, columns=columns, allow_remote=allowed)
    return CatalogConfig(source=source, image_size=28, max_quarantined_share=1, max_deleted_share=1)


def test_a_table_and_its_photos_behind_a_server(tmp_path: Path) -> None:
    write_catalog(
        tmp_path / "shop", [row("a"), row("b", image="sub/../good.jpg"), row("c", image="absent.jpg")]
    )
    local = ingest(config(tmp_path / "shop"), tmp_path / "out", tmp_path)
    with served(tmp_path / "shop") as url:
        found = ingest(remote(f"{url}listings.csv", [url]), tmp_path / "out", tmp_path)
        assert found == local
        with pytest.raises(CatalogError, match="no such file"):
            open_source(remote(f"{url}nowhere.csv", [url]), tmp_path)
        with pytest.raises(CatalogError, match=r"below none of catalog.source.allow_remote: it is empty"):
            open_source(remote(f"{url}listings.csv", []), tmp_path)
        with pytest.raises(CatalogError, match=r"catalog.source.images is a URL"):
            open_source(remote(tmp_path / "shop", ["https://elsewhere.example/"], url), tmp_path)


def test_urls_in_rows_are_read_below_allowed_prefixes_only(tmp_path: Path) -> None:
    with served(tmp_path / "shop") as url:
        rows = [
            row("local"),
            row("allowed", image=f"{url}good.jpg"),
            row("absent", image=f"{url}absent.jpg"),
            row("moved", image=f"{url}moved.jpg"),
            row("broken", image=f"{url}broken.jpg"),
            row("elsewhere", image="https://elsewhere.example/good.jpg"),
            row("file", image=f"file://{tmp_path}/shop/good.jpg"),
            row("data", image="data:image/png;base64,AAAA"),
        ]
        write_catalog(tmp_path / "shop", rows)
        result = ingest(remote(tmp_path / "shop", [url]), tmp_path / "out", tmp_path)
        assert quarantined(tmp_path / "out") == {
            "absent": "image_not_found",
            "moved": "image_unreadable",
            "broken": "image_not_fetched",
            "elsewhere": "image_remote",
            "file": "image_remote",
            "data": "image_remote",
        }
        assert result.kept == 2
        ingest(remote(tmp_path / "shop", []), tmp_path / "out", tmp_path)
        assert quarantined(tmp_path / "out") == {r["listing_id"]: "image_remote" for r in rows[1:]}


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://shop.example/photos/1.jpg", True),
        ("HTTPS://SHOP.example/photos/1.jpg", True),
        ("https://shop.example/photos/a/../1.jpg", True),
        ("https://shop.example/photos/../secret.jpg", False),
        ("https://shop.example/photos/%2e%2e/secret.jpg", False),
        ("https://shop.example/photos-2/1.jpg", False),
        ("https://shop.example.evil.example/photos/1.jpg", False),
        ("https://shop.example@evil.example/photos/1.jpg", False),
        ("https://user@shop.example/photos/1.jpg", False),
        ("http://shop.example/photos/1.jpg", False),
        ("https://shop.example:444/photos/1.jpg", False),
        ("https://shop.example/photos\\..\\1.jpg", False),
        ("https://shop.example/photos/1.jpg\r\nX: 1", False),
        ("file:///photos/1.jpg", False),
    ],
)
def test_what_lies_below_a_prefix(url: str, allowed: bool) -> None:
    assert is_allowed(url, ["https://shop.example/photos/"]) is allowed


@pytest.mark.parametrize("prefix", ["", "shop.example/photos", "https://", "https:///"])
def test_a_prefix_must_name_a_host(prefix: str) -> None:
    with pytest.raises(ValueError, match="is no URL with a host or bucket"):
        TableSource(kind="table", path="/shop", allow_remote=[prefix])
