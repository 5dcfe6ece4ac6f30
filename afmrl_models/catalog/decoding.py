"""From the bytes of a photo, whatever a seller uploads, to a square of RGB pixels."""

import io

import numpy as np
from PIL import ExifTags, Image

from afmrl_models.catalog import jpeg
from afmrl_models.catalog.quarantine import Reason, RowError

MAX_PIXELS = 64_000_000
# Only plain raster formats (others, such as EPS, start interpreters), as far as this Pillow has them.
Image.init()
FORMATS = tuple(name for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF") if name in Image.OPEN)
_WHITE = (255, 255, 255)
# EXIF's orientation to (quarter turns counter-clockwise, then mirrored left to right).
_UPRIGHT = {
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (3, True),
    6: (3, False),
    7: (1, True),
    8: (1, False),
}


def decode(data: bytes, size: int) -> np.ndarray:
    """The photo as uint8 (size, size, 3): upright, over white, fitted whole into the square (letterbox).

    JPEGs are decoded at the smallest of their built-in scales that is not below the square.
    Raises RowError: image_unreadable, or image_too_large for over 64 million pixels to decode.
    """
    if not data:
        raise RowError(Reason.IMAGE_UNREADABLE, "the photo has no bytes")
    found = jpeg.decode_jpeg(data, size) if data.startswith(jpeg.START) else None
    pixels, orientation = _decode_any(data, size) if found is None else found
    if orientation in _UPRIGHT:
        turns, mirrored = _UPRIGHT[orientation]
        pixels = np.rot90(pixels, turns)
        pixels = pixels[:, ::-1] if mirrored else pixels
    height, width = pixels.shape[:2]
    if height == width == size:
        return np.ascontiguousarray(pixels)
    square = np.full((size, size, 3), 255, dtype=np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    square[top : top + height, left : left + width] = pixels
    return square


def _decode_any(data: bytes, size: int) -> tuple[np.ndarray, int]:
    """Any format through Pillow: RGB pixels with a longer edge of `size`, and EXIF's orientation."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.draft(None, jpeg.fitted(image.size, min(size, max(image.size))))
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise RowError(Reason.IMAGE_TOO_LARGE, f"{width} × {height} pixels, at most {MAX_PIXELS:,}")
            image.load()
            small = _over_white(image)
            small = small.resize(jpeg.fitted(small.size, size), Image.Resampling.BICUBIC, reducing_gap=2.0)
            return np.asarray(small), _orientation(image)
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
