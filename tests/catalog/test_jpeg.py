"""The fast way for JPEGs shows what Pillow, slower, shows."""

import io

import numpy as np
import pytest
from PIL import Image

from afmrl_models.catalog.decoding import decode
from afmrl_models.catalog.jpeg import decode_jpeg, fitted
from afmrl_models.catalog.quarantine import Reason, RowError


def scene(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Soft colours with an edge, so that scaling and colour errors show."""
    y, x = np.mgrid[0:height, 0:width]
    red, green = 255 * x / width, 255 * y / height
    blue = np.where(x + y > (width + height) / 2, 200, 40)
    return Image.fromarray(np.stack([red, green, blue], -1).astype(np.uint8)).convert(mode)


def jpeg(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **({"quality": 92} | options))
    return buffer.getvalue()


@pytest.mark.parametrize("size", [28, 56, 84, 336])
@pytest.mark.parametrize("shape", [(1000, 1000), (640, 480), (33, 700), (57, 56), (20, 31), (1, 1), (1, 900)])
def test_pixels_are_those_of_full_decoding_and_pillows_resampling(shape: tuple[int, int], size: int) -> None:
    data = jpeg(scene(*shape), subsampling=0)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.resize(fitted(shape, size), Image.Resampling.BICUBIC), dtype=int)
    found = decode_jpeg(data, size)
    assert found is not None
    assert found[0].shape == expected.shape and found[1] == 1
    assert np.abs(found[0].astype(int) - expected).mean() < 3


@pytest.mark.parametrize("options", [{"subsampling": s} for s in (0, 1, 2)] + [{"progressive": True}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_every_kind_of_jpeg_goes_the_fast_way(options: dict[str, object], mode: str) -> None:
    data = jpeg(scene(300, 300, mode), **options)
    found = decode_jpeg(data, 56)
    assert found is not None
    expected = np.asarray(scene(300, 300, mode).convert("RGB").resize((56, 56), Image.Resampling.BICUBIC))
    assert np.abs(found[0].astype(int) - expected).mean() < 3


@pytest.mark.parametrize("cut", [3, 20, 200, 2000])
def test_what_is_damaged_is_left_to_pillow(cut: int) -> None:
    data = jpeg(scene(300, 300))
    assert decode_jpeg(data[:cut], 56) is None
    with pytest.raises(RowError) as raised:
        decode(data[:cut], 56)
    assert raised.value.reason is Reason.IMAGE_UNREADABLE


def test_cmyk_is_left_to_pillow() -> None:
    assert decode_jpeg(jpeg(scene(80, 80, "CMYK")), 56) is None


def test_the_pixels_own_their_memory_and_do_not_share_it() -> None:
    data = jpeg(scene(56, 56))
    first, second = decode(data, 56), decode(data, 56)
    first[:] = 0
    assert second.any()
