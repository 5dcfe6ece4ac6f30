"""Catalog text made safe to put on one line of a prompt or of an attribute text."""

import re
import unicodedata

_OPENS_A_TAG = re.compile(r"<(?=\S)")
_JOINERS = re.compile("[\u200c\u200d]+")
# Persian, Indic scripts and emoji need joiners; beside ASCII, or at an end, they only hide.
_IDLE_JOINER = re.compile("(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])")


def plain_text(text: str) -> str:
    """Return `text` on one line, as data that no tokenizer or chat template reads as markup.

    - Unicode is composed (NFC); control characters and lone surrogates become spaces, runs of white space one
      space.
    - Invisible characters are removed: zero-width spaces, marks that turn the direction of writing, soft
      hyphens, byte order marks, tags; joiners where they join nothing.
    - Every `<` is followed by a space, so that no special token (`<|im_end|>`, `<|image_pad|>`, `<image>`,
      `</s>`) can be spelled: `<|im_end|>` reads `< |im_end|>` and is tokenized as ordinary characters.

    Applying it twice changes nothing.
    """
    if not (text.isascii() and text.isprintable()):
        text = "".join(map(_visible, unicodedata.normalize("NFC", text)))
        joined = _JOINERS.sub(lambda run: run.group()[0], " ".join(text.split()))
        text = unicodedata.normalize("NFC", _IDLE_JOINER.sub("", joined))
    return " ".join(_OPENS_A_TAG.sub("< ", text).split())


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category in ("Cc", "Cs"):
        return " "
    return "" if category == "Cf" and character not in "\u200c\u200d" else character
