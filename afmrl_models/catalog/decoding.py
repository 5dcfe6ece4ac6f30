"""From the bytes of a photo, whatever a seller uploads, to a square of RGB pixels."""

import io

import numpy as np
from PIL import ExifTags, Image

from afmrl_models.catalog.quarantine import Reason, RowError

MAX_BYTES = 64 * 2**20
MAX_PIXELS = 64_000_000
# Only plain raster formats (others, such as EPS, start interpreters), as far as this Pillow has them.
Image.init()
FORMATS = tuple(name for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF") if name in Image.OPEN)
_WHITE = (255, 255, 255)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(data: bytes, size: int) -> np.ndarray:
    """The photo as uint8 (size, size, 3): upright, over white, fitted whole into the square (letterbox).

    JPEGs are decoded at the smallest of their built-in scales that is at least twice the square.
    Raises RowError: image_unreadable, or image_too_large for over 64 million pixels to decode.
    """
    if not data:
        raise RowError(Reason.IMAGE_UNREADABLE, "the photo has no bytes")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.draft(None, _at_least(image.size, 2 * size))
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise RowError(Reason.IMAGE_TOO_LARGE, f"{width} × {height} pixels, at most {MAX_PIXELS:,}")
            image.load()
            small = _over_white(image)
            small = small.resize(_fitted(small.size, size), Image.Resampling.BICUBIC, reducing_gap=2.0)
            turn = _TURNS.get(_orientation(image))
            if turn is not None:
                small = small.transpose(turn)
    except RowError:
        raise
    except Image.DecompressionBombError as error:
        raise RowError(Reason.IMAGE_TOO_LARGE, str(error)) from None
    except Image.UnidentifiedImageError:
        raise RowError(
            Reason.IMAGE_UNREADABLE, f"not a photo of a known format ({', '.join(FORMATS)})"
        ) from None
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged files
        raise RowError(Reason.IMAGE_UNREADABLE, f"{type(error).__name__}: {error}") from None
    square = Image.new("RGB", (size, size), _WHITE)
    square.paste(small, ((size - small.width) // 2, (size - small.height) // 2))
    return np.asarray(square)


def _fitted(shape: tuple[int, int], size: int) -> tuple[int, int]:
    """Width and height of the photo scaled, up or down, so that its longer edge is `size`."""
    longer = max(shape)
    return max(1, round(shape[0] * size / longer)), max(1, round(shape[1] * size / longer))


def _at_least(shape: tuple[int, int], size: int) -> tuple[int, int]:
    return _fitted(shape, min(size, max(shape)))


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation; 1 (upright) where there is none or EXIF is damaged."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF raises as freely as a damaged photo, and is no reason to lose the photo
        return 1


def _over_white(image: Image.Image) -> Image.Image:
    """RGB of any mode; transparency becomes white, 16-bit and float grey is scaled to 8 bits."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        canvas = Image.new("RGBA", image.size, (*_WHITE, 255))
        canvas.alpha_composite(coloured)
        return canvas.convert("RGB")
    if image.mode.startswith("I") or image.mode == "F":
        grey = np.asarray(image, dtype=np.float32)
        top = 255.0 if grey.max() <= 255 else max(65535.0, float(grey.max()))
        return Image.fromarray((grey.clip(0) * (255.0 / top)).round().astype(np.uint8)).convert("RGB")
    return image.convert("RGB")
