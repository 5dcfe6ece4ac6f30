"""Photos as another seller might show them."""

import numpy as np
from PIL import Image

from afmrl_models.catalog.variation import vary


def photo() -> Image.Image:
    """Red on the left, blue on the right, a white rim."""
    pixels = np.full((56, 56, 3), 255, dtype=np.uint8)
    pixels[8:48, 8:28] = (200, 30, 30)
    pixels[8:48, 28:48] = (30, 30, 200)
    return Image.fromarray(pixels)


def test_a_varied_photo_keeps_its_size_and_its_colours() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        varied = vary(photo(), rng)
        assert (varied.size, varied.mode) == ((56, 56), "RGB")
        pixels = np.asarray(varied).astype(int)
        sides = [pixels[20:36, 14:20].mean((0, 1)), pixels[20:36, 36:42].mean((0, 1))]
        red, blue = sorted(sides, key=lambda colour: colour[2])
        assert red[0] > 2 * red[2] and blue[2] > 2 * blue[0]


def test_the_generator_decides_and_photos_differ() -> None:
    first, again = (vary(photo(), np.random.default_rng(3)) for _ in range(2))
    assert first.tobytes() == again.tobytes()
    rng = np.random.default_rng(3)
    assert len({vary(photo(), rng).tobytes() for _ in range(20)}) == 20


def test_the_photo_itself_is_left_alone() -> None:
    original = photo()
    vary(original, np.random.default_rng(0))
    assert original.tobytes() == photo().tobytes()
