"""Photos of a request, fitted into the square the model was trained on exactly as at ingest."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from afmrl_models.catalog.decoding import decode
from afmrl_models.catalog.quarantine import RowError


class PhotoFiles:
    """Photo files by listing id, read when asked for; stands in for an ImageStore."""

    def __init__(self, paths: dict[str, str], size: int) -> None:
        self._paths = paths
        self.size = size

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, listing_id: object) -> bool:
        return listing_id in self._paths

    def get(self, listing_id: str) -> Image.Image:
        """The photo, RGB, size × size. Raises ValueError naming the file."""
        return Image.fromarray(self._decode(listing_id))

    def pixels(self, listing_ids: Sequence[str]) -> np.ndarray:
        """uint8 (N, size, size, 3) in the order asked for. Raises ValueError naming the file."""
        found = [self._decode(listing_id) for listing_id in listing_ids]
        return np.stack(found) if found else np.empty((0, self.size, self.size, 3), dtype=np.uint8)

    def _decode(self, listing_id: str) -> np.ndarray:
        path = self._paths[listing_id]
        try:
            return decode(Path(path).read_bytes(), self.size)
        except (OSError, RowError) as error:
            raise ValueError(f"row {listing_id}: the photo {path!r} cannot be used: {error}") from None
