"""What the embedder is shown of a listing."""

from PIL import Image

from afmrl_models.backbones.special_tokens import neutralise
from afmrl_models.config import Modality

MAX_TITLE_CHARACTERS = 256
MAX_ATTRIBUTES_CHARACTERS = 512

EmbedderInput = dict[str, str | Image.Image]


def listing_text(title: str, attributes_text: str | None = None) -> str:
    """The title, and on a second line the attribute text where there is one.

    Each is cut to its `MAX_..._CHARACTERS`, so that one long listing does not widen a whole batch. Special
    tokens of the model inside them become plain characters.
    """
    text = neutralise(title[:MAX_TITLE_CHARACTERS])
    if attributes_text:
        text += "\n" + neutralise(attributes_text[:MAX_ATTRIBUTES_CHARACTERS])
    return text


def embedder_input(modality: Modality, image: Image.Image | None, text: str | None) -> EmbedderInput:
    """The input of `SentenceTransformer.encode` for a modality; the part it does not show is left out.

    Always a dictionary: the library would fetch a bare string that looks like the URL of a photo.
    Raises ValueError when the part a modality shows is missing.
    """
    parts: EmbedderInput = {}
    if modality != "text":
        if image is None:
            raise ValueError(f"modality {modality} needs an image")
        parts["image"] = image
    if modality != "image":
        if text is None:
            raise ValueError(f"modality {modality} needs a text")
        parts["text"] = text
    return parts
