"""The generated catalog: deterministic, fine-grained by construction, any size."""

import csv
import hashlib
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from afmrl_models.catalog.generated import COLUMNS, generate_catalog
from afmrl_models.catalog.generated.drawing import DRAWINGS, draw_product
from afmrl_models.catalog.generated.products import BLOCK, Product, product_at
from afmrl_models.catalog.generated.taxonomy import ATTRIBUTE_COLUMNS, TYPES, ProductType
from afmrl_models.catalog.generated.wording import MISSING_SHARE, WRONG_SHARE

SEED = 3


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "listings.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("generated")
    generate_catalog(100, SEED, folder, processes=1)
    yield folder


def _families(count: int, seed: int = SEED) -> dict[str, list[Product]]:
    families: dict[str, list[Product]] = defaultdict(list)
    for index in range(count):
        product = product_at(index, seed)
        families[product.family].append(product)
    return families


def _first_of(kind: ProductType) -> Product:
    return next(p for p in (product_at(i, SEED) for i in range(20 * BLOCK)) if p.kind == kind)


def test_the_same_seed_gives_the_same_files_for_any_number_of_processes(
    catalog: Path, tmp_path: Path
) -> None:
    generate_catalog(100, SEED, tmp_path, processes=2)
    assert _digest(tmp_path) == _digest(catalog)


def test_another_seed_gives_another_catalog(catalog: Path, tmp_path: Path) -> None:
    generate_catalog(8, SEED + 1, tmp_path, processes=1)
    assert _rows(tmp_path) != _rows(catalog)[: len(_rows(tmp_path))]


def test_a_smaller_catalog_is_the_beginning_of_a_larger_one(catalog: Path, tmp_path: Path) -> None:
    generate_catalog(8, SEED, tmp_path, processes=1)
    small = _rows(tmp_path)
    assert small == _rows(catalog)[: len(small)]
    for row in small:
        assert (tmp_path / row["image"]).read_bytes() == (catalog / row["image"]).read_bytes()


def test_siblings_differ_in_exactly_one_attribute() -> None:
    varied: dict[str, set[str]] = defaultdict(set)
    for siblings in _families(100 * BLOCK).values():
        first = siblings[0]
        assert 3 <= len(siblings) <= 6
        for i, a in enumerate(siblings):
            assert tuple(a.attributes) == a.kind.stated_keys()
            for b in siblings[i + 1 :]:
                assert a.kind == b.kind and a.form == b.form
                different = [key for key in a.attributes if a.attributes[key] != b.attributes[key]]
                assert different == [first.varies]
        varied[first.kind.name].add(first.varies)
    assert set(varied) == {kind.name for kind in TYPES}
    # Every attribute with three values or more tells the members of some family apart.
    for kind in TYPES:
        assert varied[kind.name] == {key for key, values in kind.attributes.items() if len(values) >= 3}


def test_every_attribute_but_the_brand_changes_the_drawing() -> None:
    for kind in TYPES:
        product = _first_of(kind)
        # A print, so that its colour shows.
        base = product.attributes | (
            {"pattern": "stripes"} if "stripes" in kind.attributes.get("pattern", ()) else {}
        )
        for key, values in kind.attributes.items():
            drawn: dict[bytes, str] = {}
            for value in values:
                changed = Product(product.index, "f", kind, base | {key: value}, key, product.form)
                pixels = draw_product(changed).tobytes()
                assert pixels not in drawn, f"{kind.name}: {key} {value} looks like {drawn.get(pixels)}"
                drawn[pixels] = value


def test_every_type_has_a_drawing_that_fills_its_frame() -> None:
    assert set(DRAWINGS) == {kind.name for kind in TYPES}
    for kind in TYPES:
        product = _first_of(kind)
        alpha = np.asarray(draw_product(product))[..., 3]
        assert 0.12 < (alpha > 128).mean() < 0.95
        assert alpha[:, [0, -1]].max() < 128, "the drawing is cut off at a side"


def test_the_table_is_whole(catalog: Path) -> None:
    rows = _rows(catalog)
    assert tuple(rows[0]) == COLUMNS
    assert len({row["listing_id"] for row in rows}) == len(rows)
    offers = Counter(row["product_id"] for row in rows)
    assert len(offers) == 100 and set(offers.values()) == {2, 3, 4}
    sellers: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        assert row["title"].strip() and row["category"] and row["seller"]
        sellers[row["product_id"]].append(row["seller"])
        with Image.open(catalog / row["image"]) as photo:
            assert (photo.format, photo.mode, photo.size) == ("JPEG", "RGB", (144, 144))
    assert all(len(set(names)) == len(names) for names in sellers.values())
    assert {path.name for path in (catalog / "images").iterdir()} == {Path(row["image"]).name for row in rows}
    assert not list(catalog.glob(".*"))


def test_sellers_leave_out_and_mistake_attributes_as_often_as_promised(catalog: Path) -> None:
    possible = given = wrong = 0
    for row in _rows(catalog):
        product = product_at(int(row["product_id"][1:]), SEED)
        for key in ATTRIBUTE_COLUMNS:
            if key not in product.attributes:
                assert row[key] == ""
                continue
            possible += 1
            given += row[key] != ""
            wrong += row[key] not in ("", product.attributes[key])
    assert possible > 2000
    assert given / possible == pytest.approx(1 - MISSING_SHARE, abs=0.03)
    assert wrong / given == pytest.approx(WRONG_SHARE, abs=0.02)


def test_titles_often_leave_out_what_tells_siblings_apart(catalog: Path) -> None:
    named = total = 0
    for row in _rows(catalog):
        product = product_at(int(row["product_id"][1:]), SEED)
        if product.varies in ("neckline", "flavour", "colour", "trim", "lens"):
            total += 1
            named += product.attributes[product.varies] in row["title"].lower()
    assert total > 20
    assert 0.05 < named / total < 0.5


def test_progress_counts_products(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    generate_catalog(60, SEED, tmp_path, processes=1, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(48, 60), (60, 60)]


@pytest.mark.parametrize(("products", "processes"), [(7, 1), (0, 1), (8, 0)])
def test_sizes_that_make_no_catalog_are_refused(tmp_path: Path, products: int, processes: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        generate_catalog(products, SEED, tmp_path, processes=processes)
    assert not list(tmp_path.iterdir())


def test_a_product_deep_in_a_huge_catalog_needs_no_others() -> None:
    product = product_at(999_999, SEED)
    assert product.product_id == "p0999999"
    assert product_at(999_999, SEED) == product


def test_a_script_without_a_main_guard_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        "from pathlib import Path\n"
        "from afmrl_models.catalog.generated import generate_catalog\n"
        f"generate_catalog(100, 0, Path({str(tmp_path / 'out')!r}), processes=2)\n"
    )
    root = str(Path(__file__).parents[2])
    ended = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env={"PYTHONPATH": root}, timeout=120
    )
    assert ended.returncode != 0
    assert "__main__" in ended.stderr
    assert not (tmp_path / "out" / "listings.csv").exists()
