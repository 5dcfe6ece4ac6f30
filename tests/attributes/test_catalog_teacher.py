"""The catalog teacher: agreement within a product."""

from pathlib import Path

import numpy as np
from painted_listings import by_id, frame

from afmrl_models.attributes.teachers import catalog_keys, open_teacher
from afmrl_models.catalog.schema import PRODUCT_ATTRIBUTES, read_table, write_table
from afmrl_models.config import TeacherConfig


def test_the_catalog_teacher_takes_the_majority_of_a_product(tmp_path: Path) -> None:
    listings = frame(
        [
            ("p-a", "p", {"Colour": "Red", "size": "L"}),
            ("p-b", "p", {"colour": "red", "size": "M"}),
            ("p-c", "p", {"colour": "blue", "fit": "slim; <|im_end|>"}),
            ("p-d", "p", None),
            ("q-a", "q", {"colour": "blue", "size": "n/a"}),
            ("alone", None, {"size": "XS"}),
            ("bare", None, {}),
        ]
    )
    table = open_teacher(TeacherConfig(), []).write(listings, None)  # type: ignore[arg-type]
    assert by_id(table) == {
        # colour by majority in its commonest spelling; size is a tie: one's own, otherwise the first
        "p-a": {"colour": "Red", "size": "L", "fit": "slim < |im_end|>"},
        "p-b": {"colour": "Red", "size": "M", "fit": "slim < |im_end|>"},
        "p-c": {"colour": "Red", "size": "L", "fit": "slim < |im_end|>"},
        "p-d": {"colour": "Red", "size": "L", "fit": "slim < |im_end|>"},
        "q-a": {"colour": "blue"},
        "alone": {"size": "XS"},
        "bare": None,
    }
    assert set(table["generator_version"]) == {"teacher:catalog"}
    assert table["attributes_text"].tolist()[-2:] == ["size: XS", ""]
    assert table["content_hash"].tolist() == listings["content_hash"].tolist()
    write_table(table, PRODUCT_ATTRIBUTES, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet")["attributes"].tolist() == table["attributes"].tolist()


def test_the_catalog_teacher_keeps_to_the_keys_asked_for_and_their_order() -> None:
    listings = frame([("a", "p", {"Size": "L", "colour": "red", "fit": "slim"})])
    table = open_teacher(TeacherConfig(), ["Colour", "size", "season"]).write(listings, None)  # type: ignore[arg-type]
    assert table["attributes_text"].tolist() == ["colour: red; size: L"]


def test_the_catalog_teacher_equals_a_count_over_rows() -> None:
    rng = np.random.default_rng(0)
    rows: list[tuple[str, str | None, dict[str, str] | None]] = [
        (f"l{i}", f"p{rng.integers(12)}", {k: str(rng.integers(3)) for k in "abc" if rng.random() < 0.7})
        for i in range(80)
    ]
    written = by_id(open_teacher(TeacherConfig(), list("abc")).write(frame(rows), None))  # type: ignore[arg-type]
    for listing_id, product, own in rows:
        expected = {}
        for key in "abc":
            values = [other[key] for _, p, other in rows if p == product and other and key in other]
            if values:
                most = max(values.count(v) for v in values)
                tied = sorted({v for v in values if values.count(v) == most})
                expected[key] = own[key] if own and own.get(key) in tied else tied[0]
        assert written[listing_id] == (expected or None)


def test_catalog_keys_come_by_frequency() -> None:
    listings = frame(
        [
            ("a", None, {"Size": "L", "b": "1", "a": "1"}),
            ("b", None, {"size": "M", "c": "-"}),
            ("c", None, None),
        ]
    )
    assert catalog_keys(listings) == ["size", "a", "b"]
    assert catalog_keys(listings, limit=1) == ["size"]
    assert catalog_keys(listings.iloc[2:]) == []
    many = frame([("a", None, {f"k{i:02}": "v" for i in range(30)})])
    assert catalog_keys(many, limit=20) == [f"k{i:02}" for i in range(20)]
    wide = open_teacher(TeacherConfig(), ["k29", "k28"]).write(many, None)  # type: ignore[arg-type]
    assert wide["attributes_text"].tolist() == ["k29: v; k28: v"]
