import io
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from afmrl_models.catalog import CatalogError, ImageStore, Reason
from afmrl_models.catalog.decoding import decode
from afmrl_models.catalog.images import ImageStoreWriter
from afmrl_models.catalog.quarantine import RowError

SIZE = 56
RED, WHITE = (255, 0, 0), (255, 255, 255)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def close(pixel: np.ndarray, colour: tuple[int, int, int], tolerance: int = 6) -> bool:
    return bool(np.abs(pixel.astype(int) - colour).max() <= tolerance)


def test_a_store_returns_what_was_written(tmp_path: Path) -> None:
    photos = np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
    with ImageStoreWriter(tmp_path, SIZE) as writer:
        for i, photo in enumerate(photos):
            writer.add(f"läden/{i}", photo)
    for store in (ImageStore.open(tmp_path), pickle.loads(pickle.dumps(ImageStore.open(tmp_path)))):
        assert (store.size, len(store)) == (SIZE, 5)
        assert "läden/3" in store and "3" not in store
        order = ["läden/4", "läden/0", "läden/4"]
        np.testing.assert_array_equal(store.pixels(order), photos[[4, 0, 4]])
        assert store.pixels([]).shape == (0, SIZE, SIZE, 3)
        image = store.get("läden/2")
        assert (image.mode, image.size) == ("RGB", (SIZE, SIZE))
        np.testing.assert_array_equal(np.asarray(image), photos[2])
        with pytest.raises(KeyError, match="no photo of listing 'nobody'"):
            store.pixels(["nobody"])
    assert len(pickle.dumps(ImageStore.open(tmp_path))) < 1000
    np.testing.assert_array_equal(np.load(tmp_path / "pixels.npy"), photos)


def test_a_store_that_is_not_there_or_does_not_fit_its_ids(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="no image store can be read"):
        ImageStore.open(tmp_path / "nowhere")
    with ImageStoreWriter(tmp_path, 28) as writer:
        writer.add("a", np.zeros((28, 28, 3), np.uint8))
        with pytest.raises(ValueError, match="b: pixels of shape"):
            writer.add("b", np.zeros((56, 56, 3), np.uint8))
    (tmp_path / "listing_ids.json").write_text('["a", "b"]')
    with pytest.raises(CatalogError, match="2 listing ids for 1 photos"):
        ImageStore.open(tmp_path)


def test_photos_are_fitted_whole_onto_white() -> None:
    wide = decode(encoded(Image.new("RGB", (200, 100), RED), "PNG"), SIZE)
    assert (wide.shape, wide.dtype) == ((SIZE, SIZE, 3), np.uint8)
    assert close(wide[0, 28], WHITE) and close(wide[-1, 28], WHITE)
    assert close(wide[14:42].reshape(-1, 3), RED)
    tall = decode(encoded(Image.new("RGB", (1, 5000), RED), "PNG"), SIZE)
    assert close(tall[:, 27], RED) or close(tall[:, 28], RED)
    assert close(decode(encoded(Image.new("RGB", (3, 3), RED), "PNG"), SIZE).reshape(-1, 3), RED)


def test_scaled_decoding_of_a_large_jpeg_stays_close_to_full_decoding() -> None:
    rows, columns = np.mgrid[0:1200, 0:1600]
    picture = np.stack([rows / 5, columns / 7, 128 + 100 * np.sin(columns / 60)], -1).clip(0, 255)
    image = Image.fromarray(picture.astype(np.uint8))
    full = image.resize((56, 42), Image.Resampling.BICUBIC)
    ours = decode(encoded(image, "JPEG", quality=95), SIZE)[7:49]
    assert np.abs(ours.astype(int) - np.asarray(full)).mean() < 2


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "expected"),
    [
        ("CMYK", (0, 255, 255, 0), "JPEG", RED),
        ("L", 90, "JPEG", (90, 90, 90)),
        ("1", 0, "PNG", (0, 0, 0)),
        ("LA", (0, 128), "PNG", (127, 127, 127)),
        ("RGBA", (0, 0, 0, 0), "PNG", WHITE),
        ("RGBA", (255, 0, 0, 128), "WEBP", (255, 127, 127)),
        ("I;16", 32896, "PNG", (128, 128, 128)),
        ("F", 0.0, "TIFF", (0, 0, 0)),
        ("RGB", RED, "BMP", RED),
        ("RGB", RED, "AVIF", RED),
    ],
)
def test_every_mode_becomes_rgb_over_white(
    mode: str, colour: object, kind: str, expected: tuple[int, int, int]
) -> None:
    photo = decode(encoded(Image.new(mode, (80, 80), colour), kind), SIZE)  # type: ignore[arg-type]
    assert close(photo[28, 28], expected)


def test_palette_with_transparency() -> None:
    image = Image.new("P", (80, 80), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.paste(0, (0, 0, 40, 80))
    photo = decode(encoded(image, "PNG", transparency=0), SIZE)
    assert close(photo[28, 10], WHITE) and close(photo[28, 45], RED)
    photo = decode(encoded(image, "GIF", transparency=0), SIZE)
    assert close(photo[28, 10], WHITE) and close(photo[28, 45], RED)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    from PIL import ImageOps

    image = Image.new("RGB", (224, 112), (0, 0, 255))
    image.paste(RED, (0, 0, 80, 40))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(image, "JPEG", exif=exif, quality=95)
    with Image.open(io.BytesIO(data)) as stored:
        upright = ImageOps.exif_transpose(stored)
    expected = ImageOps.pad(upright, (SIZE, SIZE), color=WHITE)
    difference = np.abs(decode(data, SIZE).astype(int) - np.asarray(expected, dtype=int))
    assert difference.mean() < 3


def test_damaged_exif_is_no_reason_to_lose_a_photo() -> None:
    data = encoded(Image.new("RGB", (80, 80), RED), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7fgarbage")
    assert close(decode(data, SIZE)[28, 28], RED)


def test_the_first_picture_of_a_phones_multi_picture_jpeg_is_taken() -> None:
    first, second = Image.new("RGB", (80, 80), RED), Image.new("RGB", (80, 80), WHITE)
    data = encoded(first, "MPO", save_all=True, append_images=[second])
    assert close(decode(data, SIZE)[28, 28], RED)


def png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("edge", [9_000, 60_000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_pixel_bombs_are_refused_before_they_are_decoded(edge: int) -> None:
    with pytest.raises(RowError) as raised:
        decode(png_that_claims(edge, edge), SIZE)
    assert raised.value.reason is Reason.IMAGE_TOO_LARGE


def test_photos_that_cannot_be_read() -> None:
    jpeg = encoded(Image.effect_noise((200, 200), 80), "JPEG")
    eps = encoded(Image.new("RGB", (20, 20), RED), "EPS")
    for data in (b"", b"<html>", jpeg[: len(jpeg) // 2], png_that_claims(10, 10), eps):
        with pytest.raises(RowError) as raised:
            decode(data, SIZE)
        assert raised.value.reason is Reason.IMAGE_UNREADABLE
