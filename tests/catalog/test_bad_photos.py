"""Every kind of photo that sellers upload: kept, and then how it looks, or quarantined, and why."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shops import config, quarantined, row, write_catalog

from afmrl_models.catalog import ImageStore, ingest

RED, WHITE, BLACK, GREY = (255, 0, 0), (255, 255, 255), (0, 0, 0), (128, 128, 128)


def plain(mode: str = "RGB", colour: object = RED, shape: tuple[int, int] = (60, 60)) -> Image.Image:
    return Image.new(mode, shape, colour)  # type: ignore[arg-type]


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(image: Image.Image | None = None, **options: object) -> bytes:
    return saved(image or plain(), "JPEG", **options)


def animated(kind: str) -> bytes:
    return saved(plain(), kind, save_all=True, append_images=[plain(colour=WHITE), plain(colour=BLACK)])


def halves(mode: str, left: object, right: object) -> Image.Image:
    image = plain(mode, right)
    image.paste(left, (0, 0, 30, 60))  # type: ignore[arg-type]
    return image


def transparent_palette() -> Image.Image:
    image = plain("P", 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    image.paste(0, (0, 0, 30, 60))
    return image


def rotated(orientation: object) -> bytes:
    """Red on the stored left half."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return jpeg(halves("RGB", RED, WHITE), exif=exif, quality=95)


def sixteen_bit() -> bytes:
    return saved(Image.fromarray(np.full((60, 60), 32896, np.uint16)), "PNG")


def noise() -> Image.Image:
    return Image.effect_noise((200, 200), 90).convert("RGB")


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1 << 20))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def jpeg_claiming(edge: int) -> bytes:
    data = jpeg()
    frame = data.index(b"\xff\xc0")
    return data[: frame + 5] + struct.pack(">HH", edge, edge) + data[frame + 9 :]


# What is stored → colour at the left and at the right of the square of 28 pixels.
KEPT: dict[str, tuple[Callable[[], bytes], tuple[int, int, int], tuple[int, int, int]]] = {
    "jpeg": (jpeg, RED, RED),
    "progressive jpeg": (lambda: jpeg(progressive=True), RED, RED),
    "grey jpeg": (lambda: jpeg(plain("L", 128)), GREY, GREY),
    "cmyk jpeg": (lambda: jpeg(plain("CMYK", (0, 255, 255, 0))), RED, RED),
    "jpeg with bytes after its end": (lambda: jpeg() + b"appended by a tracker" * 50, RED, RED),
    "jpeg with two pictures": (
        lambda: saved(plain(), "MPO", save_all=True, append_images=[plain(colour=WHITE)]), RED, RED,
    ),
    "jpeg with a comment of 60 kB": (lambda: jpeg(comment=b"x" * 60_000), RED, RED),
    "jpeg with a damaged colour profile": (lambda: jpeg(icc_profile=b"not a profile"), RED, RED),
    "jpeg with damaged exif": (lambda: jpeg(exif=b"Exif\0\0II*\0\xff\xff\xff\x7f"), RED, RED),
    "jpeg turned by 90 degrees": (lambda: rotated(6), RED, WHITE),
    "jpeg turned by 180 degrees": (lambda: rotated(3), WHITE, RED),
    "jpeg mirrored": (lambda: rotated(2), WHITE, RED),
    "jpeg with an orientation that is none": (lambda: rotated(99), RED, WHITE),
    "png": (lambda: saved(plain(), "PNG"), RED, RED),
    "png of 16 bits": (sixteen_bit, GREY, GREY),
    "png of 1 bit": (lambda: saved(plain("1", 1), "PNG"), WHITE, WHITE),
    "png half transparent": (lambda: saved(halves("RGBA", (0, 0, 0, 0), (*RED, 255)), "PNG"), WHITE, RED),
    "png of a palette with transparency": (
        lambda: saved(transparent_palette(), "PNG", transparency=0), WHITE, RED,
    ),
    "png of grey with transparency": (lambda: saved(halves("LA", (0, 0), (128, 255)), "PNG"), WHITE, GREY),
    "png wholly transparent": (lambda: saved(plain("RGBA", (9, 9, 9, 0)), "PNG"), WHITE, WHITE),
    "animated gif: its first picture": (lambda: animated("GIF"), RED, RED),
    "animated webp: its first picture": (lambda: animated("WEBP"), RED, RED),
    "animated png: its first picture": (lambda: animated("PNG"), RED, RED),
    "gif with transparency": (lambda: saved(transparent_palette(), "GIF", transparency=0), WHITE, RED),
    "webp": (lambda: saved(plain(), "WEBP", lossless=True), RED, RED),
    "bmp": (lambda: saved(plain(), "BMP"), RED, RED),
    "tiff of several pages": (lambda: animated("TIFF"), RED, RED),
    "tiff of floats": (lambda: saved(plain("F", 128.0), "TIFF"), GREY, GREY),
    "tiff of 32 bits": (lambda: saved(plain("I", 128), "TIFF"), GREY, GREY),
    "tiff in cmyk": (lambda: saved(plain("CMYK", (0, 255, 255, 0)), "TIFF"), RED, RED),
    "avif": (lambda: saved(plain(), "AVIF"), RED, RED),
    "1 x 1": (lambda: jpeg(plain(shape=(1, 1))), RED, RED),
    "1 x 1 png": (lambda: saved(plain(shape=(1, 1)), "PNG"), RED, RED),
    "a banner, on white": (lambda: jpeg(plain(shape=(2000, 2))), RED, RED),
    "a column, on white": (lambda: jpeg(plain(shape=(2, 2000))), WHITE, WHITE),
    "40 megapixels": (lambda: jpeg(plain("L", 128, (8000, 5000))), GREY, GREY),
}  # fmt: skip

REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "no bytes": (lambda: b"", "image_unreadable"),
    "one byte": (lambda: b"\xff", "image_unreadable"),
    "a start of a jpeg and no more": (lambda: b"\xff\xd8\xff", "image_unreadable"),
    "zeros": (lambda: bytes(5000), "image_unreadable"),
    "a jpeg cut in its header": (lambda: jpeg(noise())[:100], "image_unreadable"),
    "a jpeg cut in its middle": (lambda: jpeg(noise())[:6000], "image_unreadable"),
    "a progressive jpeg cut short": (lambda: jpeg(noise(), progressive=True)[:6000], "image_unreadable"),
    "a png cut in its middle": (lambda: saved(noise(), "PNG")[:6000], "image_unreadable"),
    "a gif cut in its middle": (lambda: saved(noise(), "GIF")[:6000], "image_unreadable"),
    "a webp cut in its middle": (lambda: saved(noise(), "WEBP")[:2000], "image_unreadable"),
    "a tiff cut in its middle": (lambda: saved(noise(), "TIFF")[:2000], "image_unreadable"),
    "a png with a wrong checksum": (
        lambda: saved(noise(), "PNG").replace(b"IDAT", b"IDAU", 1), "image_unreadable",
    ),
    "an error page": (lambda: b"<!doctype html><title>404</title>", "image_unreadable"),
    "json": (lambda: b'{"error": "not found"}', "image_unreadable"),
    "svg": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>', "image_unreadable"),
    "eps, which starts an interpreter": (lambda: saved(plain(), "EPS"), "image_unreadable"),
    "pdf": (lambda: saved(plain(), "PDF"), "image_unreadable"),
    "icon": (lambda: saved(plain(), "ICO"), "image_unreadable"),
    "zip": (lambda: b"PK\x03\x04" + bytes(200), "image_unreadable"),
    "script": (lambda: b"#!/bin/sh\nrm -rf /\n", "image_unreadable"),
    "a pointer of git lfs": (lambda: b"version https://git-lfs.github.com/spec/v1\n", "image_unreadable"),
    "a png bomb of 9,000 x 9,000": (lambda: png_claiming(9000, 9000), "image_too_large"),
    "a png bomb of 30,000 x 30,000": (lambda: png_claiming(30_000, 30_000), "image_too_large"),
    "a png bomb of 2 billion x 1": (lambda: png_claiming(2**31 - 1, 1), "image_too_large"),
    "a jpeg that says 30,000 x 30,000": (lambda: jpeg_claiming(30_000), "image_too_large"),
    "a jpeg that says 65,500 x 65,500": (lambda: jpeg_claiming(65_500), "image_too_large"),
    "a jpeg that says 0 x 0": (lambda: jpeg_claiming(0), "image_unreadable"),
    "a png that says 0 x 0": (lambda: png_claiming(0, 0), "image_unreadable"),
}  # fmt: skip


def run(folder: Path, rows: list[dict[str, str]]) -> dict[str | None, str]:
    """Ingest the rows (and one that is good), the photos lying in `shop`; the reasons by id."""
    write_catalog(folder / "shop", [row("good"), *rows])
    result = ingest(config(folder / "shop"), folder / "out", folder)
    assert result.rows_read == 1 + len(rows) == result.kept + sum(result.quarantined.values())
    return quarantined(folder / "out")


@pytest.mark.parametrize("kind", KEPT)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_kept(kind: str, tmp_path: Path) -> None:
    make, left, right = KEPT[kind]
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "odd.jpg").write_bytes(make())
    assert run(tmp_path, [row("odd", image="odd.jpg")]) == {}
    pixels = ImageStore.open(tmp_path / "out" / "images").pixels(["odd"])[0].astype(int)
    if "turned by 90" in kind:
        pixels = np.rot90(pixels)  # what shows at the top is compared as the left
    middle = pixels[13:15].mean(axis=0) if "banner" not in kind else pixels[13]
    tolerance = 90 if "banner" in kind else 8  # of two rows that become one
    assert np.abs(middle[2] - left).max() <= tolerance
    assert np.abs(middle[25] - right).max() <= tolerance


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_refused(kind: str, tmp_path: Path) -> None:
    make, reason = REFUSED[kind]
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "odd.jpg").write_bytes(make())
    assert run(tmp_path, [row("odd", image="odd.jpg")]) == {"odd": reason}


@pytest.mark.parametrize(
    "name", ["photo.png", "photo.gif", "photo.txt", "photo", "PHOTO.JPG", "фото.jpg", "a b#?%.jpg"]
)
def test_a_names_ending_says_nothing(name: str, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / name).write_bytes(jpeg())
    assert run(tmp_path, [row("odd", image=name)]) == {}


def too_big(shop: Path) -> None:
    with (shop / "odd.jpg").open("wb") as file:
        file.truncate(64 * 2**20 + 1)


def linked_folder(shop: Path) -> None:
    (shop.parent / "secrets").mkdir()
    (shop.parent / "secrets" / "1.jpg").write_bytes(jpeg())
    (shop / "sub").symlink_to(shop.parent / "secrets")


def unreadable(shop: Path) -> None:
    (shop / "odd.jpg").write_bytes(jpeg())
    (shop / "odd.jpg").chmod(0)


# What stands in the shop's folder, what the row states, what must come of it (None: kept).
PLACES: dict[str, tuple[Callable[[Path], object], str, str | None]] = {
    "a link to a photo inside": (lambda shop: (shop / "odd.jpg").symlink_to("good.jpg"), "odd.jpg", None),
    "a link to a file outside": (
        lambda shop: (shop / "odd.jpg").symlink_to("/etc/hostname"), "odd.jpg", "image_outside_root",
    ),
    "a folder that is a link out": (linked_folder, "sub/1.jpg", "image_outside_root"),
    "a link to nothing": (lambda shop: (shop / "odd.jpg").symlink_to("no.jpg"), "odd.jpg", "image_not_found"),
    "a link to itself": (lambda shop: (shop / "odd.jpg").symlink_to("odd.jpg"), "odd.jpg", "image_not_found"),
    "a folder": (lambda shop: (shop / "odd.jpg").mkdir(), "odd.jpg", "image_not_found"),
    "a pipe, which never ends": (lambda shop: os.mkfifo(shop / "odd.jpg"), "odd.jpg", "image_not_found"),
    "a file used as a folder": (lambda shop: None, "good.jpg/1.jpg", "image_not_found"),
    "over 64 MiB": (too_big, "odd.jpg", "image_too_large"),
    "the root": (lambda shop: None, ".", "image_not_found"),
    "the parent": (lambda shop: None, "..", "image_outside_root"),
    "up and away": (lambda shop: None, "../../etc/hostname", "image_outside_root"),
    "up and back": (lambda shop: None, "../shop/good.jpg", None),
    "absolute, outside": (lambda shop: None, "/etc/hostname", "image_outside_root"),
    "backslashes": (lambda shop: None, "..\\..\\secret.jpg", "image_not_found"),
    "a tilde": (lambda shop: None, "~/secret.jpg", "image_not_found"),
    "a variable": (lambda shop: None, "$HOME/secret.jpg", "image_not_found"),
    "a name of 5,000 characters": (lambda shop: None, "x" * 5000, "image_not_found"),
    "http": (lambda shop: None, "http://127.0.0.1:9/1.jpg", "image_remote"),
    "https in capitals": (lambda shop: None, "HTTPS://shop.example/1.jpg", "image_remote"),
    "no scheme": (lambda shop: None, "//shop.example/1.jpg", "image_remote"),
    "s3": (lambda shop: None, "s3://bucket/1.jpg", "image_remote"),
    "file": (lambda shop: None, "file:///etc/hostname", "image_remote"),
    "data": (lambda shop: None, "data:image/png;base64,AAAA", "image_remote"),
}  # fmt: skip


@pytest.mark.parametrize("kind", PLACES)
def test_places(kind: str, tmp_path: Path) -> None:
    arrange, stated, reason = PLACES[kind]
    write_catalog(tmp_path / "shop", [])
    arrange(tmp_path / "shop")
    assert run(tmp_path, [row("odd", image=stated)]) == ({} if reason is None else {"odd": reason})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_photo_one_may_not_read(tmp_path: Path) -> None:
    write_catalog(tmp_path / "shop", [])
    unreadable(tmp_path / "shop")
    assert run(tmp_path, [row("odd", image="odd.jpg")]) == {"odd": "image_unreadable"}


def test_photos_that_vanish_in_mid_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from afmrl_models.catalog import table_source

    shop = tmp_path / "shop"
    write_catalog(shop, [])
    for i in range(1000):
        (shop / f"{i}.jpg").write_bytes(jpeg())
    plain_rows = table_source.TableCatalog.rows

    def rows_while_someone_deletes(self: table_source.TableCatalog):  # type: ignore[no-untyped-def]
        for raw in plain_rows(self):
            if raw.row == 900:
                (shop / "999.jpg").unlink(missing_ok=True)
            yield raw

    monkeypatch.setattr(table_source.TableCatalog, "count_rows", lambda self: 1001)
    monkeypatch.setattr(table_source.TableCatalog, "rows", rows_while_someone_deletes)
    assert run(tmp_path, [row(str(i), image=f"{i}.jpg") for i in range(1000)]) == {"999": "image_not_found"}
