"""The released state in force, replaced as a whole when a night has made another."""

import logging
import threading

from afmrl_models.config import Profile
from afmrl_models.errors import UserError
from afmrl_models.registry.tracking import Tracking
from afmrl_models.serving.encoder import QueryEncoder
from afmrl_models.serving.released import Places, open_released
from afmrl_models.serving.searching import Searcher

logger = logging.getLogger(__name__)


class SearchService:
    """What `afmrl serve` answers from.

    A request takes `searcher` once and works with it to its end: it sees one night, whole. Raises, at
    construction, what `open_released` and `QueryEncoder.load` do.
    """

    def __init__(self, places: Places, profile: Profile, tracking: Tracking, device: str) -> None:
        self.profile_name = profile.name
        self.reload_error: str | None = None
        self._places, self._tracking, self._device = places, tracking, device
        self._neighbours = profile.identical_products.neighbours
        self._reloading = threading.Lock()
        self.searcher = self._open(None)

    def reload(self) -> bool:
        """Put the newest state in force, if it is another one; where it cannot be used, the old one stays."""
        with self._reloading:
            stamp = self._places.stamp()
            if stamp == self.searcher.released.stamp or stamp[0] is None:
                return False
            try:
                self.searcher = self._open(self.searcher.encoder)
            except (UserError, OSError) as error:
                if str(error) != self.reload_error:
                    logger.error("the new index is not used, the last one stays in force: %s", error)
                self.reload_error = str(error)
                return False
            self.reload_error = None
            about = self.searcher.released.about
            logger.info("new index in force: %d listings, vectors of %s", about.listings, about.embedder)
            return True

    def watch(self, stop: threading.Event, seconds: float = 2.0) -> None:
        """Reload every few seconds until told to stop."""
        while not stop.wait(seconds):
            try:
                self.reload()
            except Exception:  # whatever it is, the state in force must go on being served
                logger.exception("looking for a new index failed")

    def _open(self, last: QueryEncoder | None) -> Searcher:
        released = open_released(self._places, self._device)
        origin = released.index.origin
        if last is not None and last.origin == origin:
            encoder = last
        else:
            encoder = QueryEncoder(self._tracking, self.profile_name, origin, self._device)
            encoder.load()
        return Searcher(released, encoder, self._neighbours)
