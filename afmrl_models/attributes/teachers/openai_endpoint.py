"""The teacher behind an OpenAI-compatible endpoint that takes images, such as vLLM."""

import base64
import io
import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Any

import openai
import pandas as pd
from PIL import Image
from tqdm import tqdm

from afmrl_models.attributes.prompt import TEACHER_INSTRUCTION, instruction_text, title_text
from afmrl_models.attributes.teachers.answers import Answer, read_answer
from afmrl_models.attributes.teachers.teacher import TeacherError, attributes_table
from afmrl_models.catalog.images import ImageStore
from afmrl_models.config.profile import TeacherConfig

MAX_ANSWER_TOKENS = 256
MAX_REFUSED_SHARE = 0.2
REFUSED_BEFORE_STOPPING = 10

logger = logging.getLogger(__name__)


class OpenAITeacher:
    """Asks `/chat/completions` once a listing, greedily, at most `config.concurrency` requests at once.

    Connection errors, time-outs, 408, 409, 429 and 5xx are retried with back-off by the client
    (`config.max_retries`). A request still refused then is an invalid row with an empty text and a warning
    that names the listing. TeacherError, naming the endpoint, stops the run if it cannot be reached, does not
    know the key or the model, or refuses over a fifth of the listings.
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

    def write(self, listings: pd.DataFrame, images: ImageStore, progress: bool = False) -> pd.DataFrame:
        """See `Teacher.write`."""
        with openai.OpenAI(
            base_url=self.config.base_url,
            api_key=self.config.api_key,
            timeout=self.config.timeout,
            max_retries=self.config.max_retries,
        ) as client:
            executor = ThreadPoolExecutor(self.config.concurrency, thread_name_prefix="teacher")
            try:
                under_way = {
                    executor.submit(self._ask, client, images, listing_id, title): position
                    for position, (listing_id, title) in enumerate(
                        zip(listings["listing_id"], listings["title"], strict=True)
                    )
                }
                answers = self._gather(under_way, listings["listing_id"].tolist(), progress)
            finally:
                # Before the client closes: a request under way on a closed client hangs until its time-out.
                executor.shutdown(wait=True, cancel_futures=True)
        return attributes_table(listings, answers, self.version)

    def _gather(
        self, under_way: dict[Future[Answer], int], listing_ids: list[str], progress: bool
    ) -> list[Answer]:
        """The answers in the listings' order, as they come in."""
        answers = [Answer("", None)] * len(under_way)
        refused = 0
        finished = tqdm(as_completed(under_way), total=len(under_way), desc="teacher", disable=not progress)
        for done, future in enumerate(finished, start=1):
            position = under_way[future]
            try:
                answers[position] = future.result()
            except openai.APIStatusError as error:
                refused += 1
                logger.warning(
                    "listing %s: %s refused it: %s", listing_ids[position], self.config.base_url, error
                )
                self._demand_that_most_are_answered(refused, done, len(under_way), error)
            except openai.APIConnectionError as error:
                raise TeacherError(
                    f"the teacher's endpoint {self.config.base_url} cannot be reached "
                    f"({1 + self.config.max_retries} tries): {error.__cause__ or error}"
                ) from error
        return answers

    def _ask(self, client: openai.OpenAI, images: ImageStore, listing_id: str, title: str) -> Answer:
        content: Any = [
            {"type": "image_url", "image_url": {"url": data_url(images.get(listing_id))}},
            {"type": "text", "text": title_text(title)},
        ]
        completion = client.chat.completions.create(
            model=str(self.config.model),
            messages=[
                {"role": "system", "content": instruction_text(self.keys, self.instruction)},
                {"role": "user", "content": content},
            ],
            temperature=0.0,
            max_tokens=MAX_ANSWER_TOKENS,
        )
        choice = completion.choices[0] if completion.choices else None
        raw = (choice.message.content or "") if choice else ""
        if choice is not None and choice.finish_reason == "length":
            return Answer(raw, None)  # cut off: its last value may be half a word
        return read_answer(raw, self.keys)

    def _demand_that_most_are_answered(
        self, refused: int, done: int, asked: int, error: openai.APIStatusError
    ) -> None:
        hopeless = error.status_code in (401, 403, 404)  # the key or the model, not the listing
        enough = refused >= REFUSED_BEFORE_STOPPING or done == asked
        if hopeless or (enough and refused > MAX_REFUSED_SHARE * done):
            raise TeacherError(
                f"the teacher's endpoint {self.config.base_url} (model {self.config.model}) refused "
                f"{refused} of {done} listings, the last with: {error}"
            ) from error


def data_url(image: Image.Image) -> str:
    """The image as a PNG in a base64 data URL."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
