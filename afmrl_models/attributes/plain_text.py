"""Catalog text made safe to put on one line of a prompt or of an attribute text."""

import re
import unicodedata

_OPENS_A_TAG = re.compile(r"<(?=\S)")


def plain_text(text: str) -> str:
    """Return `text` on one line, as data that no tokenizer or chat template reads as markup.

    - Unicode is composed (NFC); control characters and lone surrogates become spaces, runs of white space one
      space.
    - Every `<` is followed by a space, so that no special token (`<|im_end|>`, `<|image_pad|>`, `<image>`,
      `</s>`) can be spelled: `<|im_end|>` reads `< |im_end|>` and is tokenized as ordinary characters.

    Applying it twice changes nothing.
    """
    if text.isascii() and text.isprintable():
        return " ".join(_OPENS_A_TAG.sub("< ", text).split())
    composed = unicodedata.normalize("NFC", text)
    visible = "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in composed)
    return " ".join(_OPENS_A_TAG.sub("< ", visible).split())
