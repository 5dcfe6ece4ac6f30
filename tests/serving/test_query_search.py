"""A query is embedded as listings were, answered with exact numbers, and refused with a reason."""

import io

import numpy as np
import pytest
from night import HOSTILE_ID, NEIGHBOURS, SIZE, Night
from PIL import Image

from afmrl_models.catalog.images import ImageStore
from afmrl_models.errors import UserError
from afmrl_models.retrieval.links import mutual_links
from afmrl_models.serving.encoder import BY_ASKER, OtherModelError, QueryEncoder
from afmrl_models.serving.query import MAX_UPLOAD_BYTES, PhotoTooLargeError, QueryError, read_query
from afmrl_models.serving.released import UnknownIdError, open_released
from afmrl_models.serving.searching import Searcher
from afmrl_models.serving.sheet import search_sheet


@pytest.fixture(scope="module")
def searcher(first_night: Night) -> Searcher:
    released = open_released(first_night.places)
    encoder = QueryEncoder(first_night.tracking, "shop", released.index.origin, "cpu")
    return Searcher(released, encoder, NEIGHBOURS)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def stored_photo(night: Night, listing_id: str) -> bytes:
    return png(ImageStore.open(night.places.listings / "images").pixels([listing_id])[0])


def test_photo_and_title_of_a_listing_find_the_listing_itself(searcher: Searcher, first_night: Night) -> None:
    for listing_id in searcher.released.index.ids[:3]:
        title = searcher.released.facts(listing_id).title
        query = read_query(SIZE, photo=stored_photo(first_night, listing_id), text=title)
        answer = searcher.search(query, 3, with_generator=False)
        assert answer.results[0].listing_id == listing_id
        assert answer.results[0].similarity == pytest.approx(1, abs=1e-5)
        assert answer.query.attributes is None and answer.query.text == title


def test_the_nearest_of_a_listing_are_those_of_a_slow_search(searcher: Searcher) -> None:
    index = searcher.released.index
    for row, listing_id in list(enumerate(index.ids))[:5]:
        scores = index.vectors.astype(float) @ index.vectors[row].astype(float)
        scores[row] = -np.inf
        answer = searcher.nearest(listing_id, 5)
        assert [r.rank for r in answer.results] == [1, 2, 3, 4, 5]
        assert [r.similarity for r in answer.results] == pytest.approx(np.sort(scores)[::-1][:5].tolist())
        assert listing_id not in {r.listing_id for r in answer.results}


def test_a_confidence_is_given_to_links_alone_and_is_the_curve_s(searcher: Searcher) -> None:
    index, calibration = searcher.released.index, searcher.released.calibration
    assert calibration is not None
    links = mutual_links(index, NEIGHBOURS)
    linked = {
        (index.ids[a], index.ids[b]): score
        for left, right, score in zip(links.left, links.right, links.scores, strict=True)
        for a, b in ((left, right), (right, left))
    }
    seen = 0
    for listing_id in index.ids:
        for result in searcher.nearest(listing_id, 8).results:
            score = linked.get((listing_id, result.listing_id))
            assert result.linked == (score is not None)
            if score is None:
                assert result.confidence is None
            else:
                seen += 1
                assert result.confidence == pytest.approx(float(calibration.curve(np.array(score))))
    assert seen == len(linked)


def test_attributes_move_the_vector_but_not_the_confidence(searcher: Searcher, first_night: Night) -> None:
    photo = stored_photo(first_night, searcher.released.index.ids[3])
    plain = searcher.search(read_query(SIZE, photo=photo, text="red shoe"), 10, with_generator=False)
    told = searcher.search(read_query(SIZE, photo=photo, text="red shoe", attributes="colour: red"), 10)
    assert told.query.attributes == "colour: red" and told.query.attributes_by == BY_ASKER
    of_plain = {r.listing_id: r for r in plain.results}
    shared = [(r, of_plain[r.listing_id]) for r in told.results if r.listing_id in of_plain]
    assert shared and any(abs(a.similarity - b.similarity) > 1e-6 for a, b in shared)
    assert all(a.confidence == b.confidence for a, b in shared)
    assert "confidence that of photo and text" in " ".join(told.notes)


def test_what_is_not_calibrated_has_no_confidence_and_says_so(searcher: Searcher, first_night: Night) -> None:
    photo = stored_photo(first_night, searcher.released.index.ids[0])
    for query, alone in ((read_query(SIZE, photo=photo), "photo"), (read_query(SIZE, text="a lamp"), "text")):
        answer = searcher.search(query, 4)
        assert len(answer.results) == 4
        assert all(r.confidence is None and r.linked is None for r in answer.results)
        assert f"a {alone} alone" in " ".join(answer.notes)
        assert answer.query.attributes_by is None, "the generator reads photo and title together"


def test_what_the_generator_writes_is_used_or_its_refusal_is_told(
    searcher: Searcher, first_night: Night
) -> None:
    photo = stored_photo(first_night, searcher.released.index.ids[0])
    answer = searcher.search(read_query(SIZE, photo=photo, text="a lamp"), 2)
    if answer.query.attributes is None:
        assert "is no attribute text and was left out" in answer.notes[0]
    else:
        assert answer.query.attributes_by == "models:/shop-generator/1"


def test_a_version_whose_files_are_not_those_indexed_is_refused(first_night: Night) -> None:
    from dataclasses import replace

    origin = replace(open_released(first_night.places).index.origin, embedder_digest="0" * 64)
    encoder = QueryEncoder(first_night.tracking, "shop", origin, "cpu")
    with pytest.raises(OtherModelError, match=r"models:/shop-embedder/1 of digest 000000000000"):
        encoder.encode(read_query(SIZE, text="a lamp"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "a photo, a text, or both"),
        ({"text": "   "}, "the text is empty"),
        ({"text": "\u200b"}, "the text is empty"),
        ({"text": "a\0b"}, "NUL"),
        ({"text": "\ud800"}, "Unicode"),
        ({"text": "x" * 2001}, "2,001 characters"),
        ({"photo": b""}, "no bytes"),
        ({"photo": b"GIF89a but no more"}, "cannot be used"),
        ({"photo": b"<svg onload=alert(1)>"}, "not a photo of a known format"),
        ({"text": "lamp", "attributes": "red"}, "not `key: value`"),
        ({"text": "lamp", "attributes": "Colour: red"}, "not lower-case"),
    ],
)
def test_a_query_that_cannot_be_used_says_why(given: dict, said: str) -> None:
    with pytest.raises(QueryError, match=said):
        read_query(SIZE, **given)


def test_bombs_and_floods_are_not_decoded() -> None:
    with pytest.raises(PhotoTooLargeError, match="at most"):
        read_query(SIZE, photo=png(np.zeros((9000, 9000), dtype=np.uint8)))
    with pytest.raises(PhotoTooLargeError, match="bytes"):
        read_query(SIZE, photo=b"\xff" * (MAX_UPLOAD_BYTES + 1))


def test_unknown_ids_and_numbers_are_named(searcher: Searcher) -> None:
    with pytest.raises(UnknownIdError, match="'nobody'"):
        searcher.nearest("nobody", 3)
    with pytest.raises(UnknownIdError, match="no group 'none'"):
        searcher.released.members("none")
    with pytest.raises(QueryError, match="k must be from 1 to 100"):
        searcher.nearest(searcher.released.index.ids[0], 0)


def test_a_listing_that_has_left_the_catalog_is_not_found(night: Night) -> None:
    from afmrl_models.catalog.schema import LISTINGS, read_table, write_table

    before = open_released(night.places)
    asked = before.index.ids[0]
    encoder = QueryEncoder(night.tracking, "shop", before.index.origin, "cpu")
    first, second = Searcher(before, encoder, NEIGHBOURS).nearest(asked, 2).results
    path = night.places.listings / "listings.parquet"
    listings = read_table(path)
    write_table(listings[listings["listing_id"] != first.listing_id], LISTINGS, path)
    after = Searcher(open_released(night.places), encoder, NEIGHBOURS)
    assert after.nearest(asked, 1).results[0].listing_id == second.listing_id
    assert len(after.nearest(asked, 100).results) == len(before.index) - 2
    with pytest.raises(UnknownIdError):
        after.nearest(first.listing_id, 1)


def test_the_sheet_needs_no_other_file_and_escapes(searcher: Searcher) -> None:
    page = search_sheet(searcher.nearest(HOSTILE_ID, 4), searcher.released, "shop", None)
    assert "<script" not in page and "&lt;script&gt;" in page
    assert page.count("data:image/jpeg;base64,") == 5
    assert 'src="http' not in page and "href=" not in page


def test_an_index_that_is_missing_is_named(night: Night) -> None:
    (night.places.product_index / "index.json").unlink()
    with pytest.raises(UserError, match=r"index\.json is missing"):
        open_released(night.places)
