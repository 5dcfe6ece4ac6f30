"""JPEGs straight to a few pixels: libjpeg-turbo's scaled decoding and torch's resampling, without the GIL."""

import numpy as np
import simplejpeg
from PIL import ExifTags, Image

from afmrl_models.catalog.quarantine import Reason, RowError

START = b"\xff\xd8\xff"
_MAX_PIXELS = 178_956_970  # Pillow's own bound on decompression bombs
_SHRINKS = (8, 4, 2)  # the powers of two have SIMD code
_NARROW = 16
_START_OF_SCAN, _APP1, _EXIF = 0xDA, 0xE1, b"Exif\0\0"


def decode_jpeg(data: bytes, size: int) -> tuple[np.ndarray, int] | None:
    """RGB pixels, uint8 (h, w, 3) with a longer edge of `size`, and EXIF's orientation (1 to 8).

    Decoded at the smallest of the scales 1/8, 1/4, 1/2 and 1 that is not below the target, then
    resampled (bicubic, antialiased). None for what needs a closer look: CMYK, or any fault in the data.
    Raises RowError (image_too_large) for over 179 million pixels.
    """
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    if width * height > _MAX_PIXELS:
        raise RowError(Reason.IMAGE_TOO_LARGE, f"{width} × {height} pixels, at most {_MAX_PIXELS:,}")
    if colours in ("CMYK", "YCCK"):
        return None
    target = fitted((width, height), size)
    scale = next((s for s in _SHRINKS if _still_enough((width, height), s, target)), 1)
    try:
        pixels = simplejpeg.decode_jpeg(data, min_width=-(-width // scale), min_height=-(-height // scale))
    except ValueError:
        return None
    return _resampled(pixels, target), _orientation(data)


def fitted(shape: tuple[int, int], size: int) -> tuple[int, int]:
    """Width and height of a photo scaled, up or down, so that its longer edge is `size`."""
    longer = max(shape)
    return max(1, round(shape[0] * size / longer)), max(1, round(shape[1] * size / longer))


def _still_enough(shape: tuple[int, int], scale: int, target: tuple[int, int]) -> bool:
    """Whether 1/scale is not below the target, nor so narrow that the padding of the last block shows."""
    return all(edge // scale >= max(wanted, _NARROW) for edge, wanted in zip(shape, target, strict=True))


def _resampled(pixels: np.ndarray, target: tuple[int, int]) -> np.ndarray:
    if pixels.shape[:2] == target[::-1]:
        return pixels
    import torch  # four times as fast as Pillow's resize, the same pixels within rounding

    with torch.inference_mode():
        photo = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
        small = torch.nn.functional.interpolate(photo, size=target[::-1], mode="bicubic", antialias=True)
        return small[0].permute(1, 2, 0).numpy()


def _orientation(data: bytes) -> int:
    """EXIF's orientation; 1 (upright) where there is none or EXIF is damaged."""
    place = 2
    while data[place : place + 1] == b"\xff" and data[place + 1] != _START_OF_SCAN:
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if data[place + 1] == _APP1 and data.startswith(_EXIF, place + 4):
            return _stated_orientation(data[place + 4 : end])
        place = end
    return 1


def _stated_orientation(block: bytes) -> int:
    exif = Image.Exif()
    try:
        exif.load(block)
        return int(exif.get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF raises nearly anything, and is no reason to lose the photo
        return 1
