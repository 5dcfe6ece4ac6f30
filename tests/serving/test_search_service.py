"""A new night comes into force as a whole, while requests are answered."""

import threading
from pathlib import Path

import pytest
from night import SIZE, Night

from afmrl_models.errors import UserError
from afmrl_models.registry.models import find_version, local_directory
from afmrl_models.serving.query import read_query
from afmrl_models.serving.service import SearchService


@pytest.fixture
def service(night: Night) -> SearchService:
    return SearchService(night.places, night.profile, night.tracking, "cpu")


def directory_of(night: Night, uri: str) -> Path:
    return local_directory(night.tracking, uri)


def test_nothing_new_is_not_opened_again(service: SearchService) -> None:
    in_force = service.searcher
    assert not service.reload()
    assert service.searcher is in_force


def test_a_new_index_is_served_and_a_request_under_way_sees_the_old_one(
    night: Night, service: SearchService
) -> None:
    under_way = service.searcher
    gone = under_way.released.index.ids[-1]
    night.index(
        find_version(night.tracking, "shop-embedder", "1"),
        directory_of(night, "models:/shop-embedder/1"),
        without=gone,
    )
    assert service.reload()
    assert gone not in service.searcher.released and gone in under_way.released
    # Its files were replaced, but what it has open it keeps: index, photos and all.
    assert len(under_way.nearest(gone, 3).results) == 3
    assert under_way.released.jpeg_of(gone).startswith(b"\xff\xd8")
    assert service.searcher.encoder is under_way.encoder, "the same model is not loaded again"


def test_a_new_champion_s_index_brings_its_model(night: Night, service: SearchService) -> None:
    version, directory = night.register(len(list(night.home.glob("base_*"))) + 7)
    night.index(version, directory)
    assert service.reload()
    answer = service.searcher.search(read_query(SIZE, text="a lamp"), 3)
    assert answer.index.embedder == version.uri and len(answer.results) == 3


def test_a_damaged_index_leaves_the_last_one_in_force(night: Night, service: SearchService) -> None:
    in_force = service.searcher
    index = night.places.product_index / "index.faiss"
    data = index.read_bytes()
    index.unlink()
    index.write_bytes(data[:-200] + bytes(200))
    (night.places.product_index / "index.json").touch()
    assert not service.reload()
    assert service.searcher is in_force and "damaged" in str(service.reload_error)
    index.write_bytes(data)
    (night.places.product_index / "index.json").touch()
    assert service.reload() and service.reload_error is None


def test_requests_during_many_replacements_never_fail(night: Night, service: SearchService) -> None:
    version = find_version(night.tracking, "shop-embedder", "1")
    directory = directory_of(night, version.uri)
    ids = list(service.searcher.released.index.ids)
    stop, faults = threading.Event(), []

    def ask() -> None:
        while not stop.is_set():
            searcher = service.searcher
            try:
                assert len(searcher.nearest(ids[0], 3).results) == 3
                assert len(searcher.released.about.embedder_digest) == 16
            except Exception as fault:  # whatever it is, the test is to fail on it
                faults.append(fault)

    asking = threading.Thread(target=ask)
    watching = threading.Thread(target=service.watch, args=(stop, 0.01))
    asking.start(), watching.start()
    for number in range(4):
        night.index(version, directory, without=ids[-1 - number])
    stop.set()
    asking.join(), watching.join()
    service.reload()
    assert not faults
    assert ids[-4] not in service.searcher.released and ids[-1] in service.searcher.released


def test_a_service_without_an_index_does_not_start(night: Night) -> None:
    (night.places.product_index / "index.json").unlink()
    with pytest.raises(UserError, match="no product index"):
        SearchService(night.places, night.profile, night.tracking, "cpu")
