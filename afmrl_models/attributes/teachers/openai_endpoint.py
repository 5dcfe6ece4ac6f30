"""The teacher behind an OpenAI-compatible endpoint that takes images, such as vLLM."""

import base64
import io
import itertools
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import openai
import pandas as pd
from PIL import Image

from afmrl_models.attributes.chunks import AttributeChunks, ListingContent
from afmrl_models.attributes.progress import progress_of
from afmrl_models.attributes.prompt import TEACHER_INSTRUCTION, instruction_text, request_text, title_text
from afmrl_models.attributes.teachers.answers import Answer, read_answer
from afmrl_models.attributes.teachers.teacher import TeacherError, attributes_table
from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.schema import PRODUCT_ATTRIBUTES
from afmrl_models.config import TeacherConfig

MAX_ANSWER_TOKENS = 256
MAX_FAILED_SHARE = 0.2
FAILED_BEFORE_STOPPING = 10
REFUSED_AT_FIRST = 3

logger = logging.getLogger(__name__)


class OpenAITeacher:
    """Asks `/chat/completions` once a listing, greedily, at most `config.concurrency` requests at once.

    - Connection errors, time-outs, 408, 409, 429 and 5xx are retried by the client (`config.max_retries`),
      with back-off or after what the endpoint's Retry-After says.
    - A request that then failed, was refused, or got a reply that is no chat completion is an invalid row
      with an empty text and a warning that names the listing. The next run asks for it again.
    - TeacherError, naming the endpoint, stops the run at once if the endpoint cannot be reached, or does
      not know the key or the model (401, 403, 404); if its first three replies are refusals; and if over a
      fifth of the listings, or ten in a row, fail.
    - Answers are kept as they come: see `Teacher.write`.
    """

    def __init__(
        self, config: TeacherConfig, keys: Sequence[str], instruction: str = TEACHER_INSTRUCTION
    ) -> None:
        if config.model is None or config.base_url is None:
            raise TeacherError("teacher kind openai needs model and base_url")
        self.config = config
        self.keys = list(keys)
        self.instruction = instruction
        self.version = f"teacher:openai:{config.model}"

    def write(
        self, listings: pd.DataFrame, images: ImageStore, progress: bool = False, kept: Path | None = None
    ) -> pd.DataFrame:
        """See `Teacher.write`."""
        answered = None if kept is None else self._kept(kept)
        contents = list(zip(listings["listing_id"], listings["content_hash"], strict=True))
        rows: dict[ListingContent, tuple] = dict(answered.rows) if answered else {}
        pending = listings[[content not in rows for content in contents]]
        done = len(listings) - len(pending)
        if done:
            logger.info("%d of %d listings were answered before", done, len(listings))
        with (
            openai.OpenAI(
                base_url=self.config.base_url,
                api_key=self.config.api_key,
                timeout=self.config.timeout,
                max_retries=self.config.max_retries,
            ) as client,
            progress_of("teacher", len(listings), done=done, enabled=progress) as bar,
        ):

            def ask(listing: pd.DataFrame) -> pd.DataFrame:
                answer = self._ask(client, images, listing["listing_id"].iloc[0], listing["title"].iloc[0])
                row = attributes_table(listing, [answer], self.version)
                if answered is not None:
                    answered.note(row)
                return row

            for row in self._gather(ask, pending):
                [values] = row.itertuples(index=False, name=None)
                rows[(values[0], values[-1])] = values
                bar.update(1)
        return pd.DataFrame([rows[content] for content in contents], columns=PRODUCT_ATTRIBUTES.names)

    def _kept(self, folder: Path) -> AttributeChunks:
        request = [request_text(self.keys, self.instruction), str(MAX_ANSWER_TOKENS)]
        return AttributeChunks(folder, self.version, request)

    def _gather(
        self, ask: Callable[[pd.DataFrame], pd.DataFrame], listings: pd.DataFrame
    ) -> Iterator[pd.DataFrame]:
        """The rows as they come in; twice as many listings as may be asked at once wait in line."""
        failures = Failures(self.config)
        executor = ThreadPoolExecutor(self.config.concurrency, thread_name_prefix="teacher")
        waiting = (listings.iloc[i : i + 1] for i in range(len(listings)))
        under_way: dict[Future[pd.DataFrame], pd.DataFrame] = {}
        try:
            while True:
                for listing in itertools.islice(waiting, 2 * self.config.concurrency - len(under_way)):
                    under_way[executor.submit(ask, listing)] = listing
                if not under_way:
                    failures.judge_all()
                    return
                for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                    listing = under_way.pop(future)
                    try:
                        row = future.result()
                        failures.answered()
                    except (openai.APIError, MalformedReplyError) as error:
                        failures.failed(listing["listing_id"].iloc[0], error)
                        row = attributes_table(listing, [Answer("", None)], self.version)
                    yield row
        finally:
            # Before the client closes: a request under way on a closed client hangs until its time-out.
            executor.shutdown(wait=True, cancel_futures=True)

    def _ask(self, client: openai.OpenAI, images: ImageStore, listing_id: str, title: str) -> Answer:
        content: Any = [
            {"type": "image_url", "image_url": {"url": data_url(images.get(listing_id))}},
            {"type": "text", "text": title_text(title)},
        ]
        try:
            completion: Any = client.chat.completions.create(
                model=str(self.config.model),
                messages=[
                    {"role": "system", "content": instruction_text(self.keys, self.instruction)},
                    {"role": "user", "content": content},
                ],
                temperature=0.0,
                max_tokens=MAX_ANSWER_TOKENS,
            )
        except json.JSONDecodeError as error:
            raise MalformedReplyError(f"the reply is no JSON: {error}") from error
        try:
            choice = completion.choices[0]
            raw, ended = choice.message.content or "", choice.finish_reason != "length"
            if not isinstance(raw, str):
                raise TypeError(f"the content is {type(raw).__name__}")
        except (AttributeError, IndexError, TypeError) as error:
            raise MalformedReplyError(f"the reply is no chat completion: {error}") from error
        # Cut off, its last value may be half a word.
        return read_answer(raw, self.keys) if ended else Answer(raw, None)


class MalformedReplyError(Exception):
    """The endpoint replied with success and with something that is no chat completion."""


class Failures:
    """Decides when failed requests are the endpoint's fault and not single listings'."""

    def __init__(self, config: TeacherConfig) -> None:
        self._config = config
        self._done = self._failed = self._in_a_row = 0
        self._last: Exception | None = None

    def answered(self) -> None:
        """Count an answer, whatever it says."""
        self._done, self._in_a_row = self._done + 1, 0

    def failed(self, listing_id: str, error: Exception) -> None:
        """Count and log a failure. Raises TeacherError where going on is of no use."""
        self._done, self._failed, self._in_a_row = self._done + 1, self._failed + 1, self._in_a_row + 1
        self._last = error
        unreachable = isinstance(error, openai.APIConnectionError)
        if unreachable and not isinstance(error, openai.APITimeoutError) and self._failed == self._done:
            raise TeacherError(
                f"the teacher's endpoint {self._config.base_url} cannot be reached "
                f"({1 + self._config.max_retries} tries): {error.__cause__ or error}"
            ) from error
        logger.warning("listing %s: %s gave no answer: %s", listing_id, self._config.base_url, error)
        # The key or the model, not the listing.
        hopeless = isinstance(error, openai.APIStatusError) and error.status_code in (401, 403, 404)
        never = self._failed == self._done >= REFUSED_AT_FIRST
        in_a_row = self._in_a_row >= FAILED_BEFORE_STOPPING
        if hopeless or never or in_a_row or self._too_many(FAILED_BEFORE_STOPPING):
            self._stop()

    def judge_all(self) -> None:
        """At the end. Raises TeacherError where too large a share failed."""
        if self._too_many(1):
            self._stop()

    def _too_many(self, least: int) -> bool:
        return self._failed >= least and self._failed > MAX_FAILED_SHARE * self._done

    def _stop(self) -> None:
        raise TeacherError(
            f"the teacher's endpoint {self._config.base_url} (model {self._config.model}) gave no answer for "
            f"{self._failed} of {self._done} listings, the last time with: {self._last}"
        ) from self._last


def data_url(image: Image.Image) -> str:
    """The image as a PNG in a base64 data URL."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
