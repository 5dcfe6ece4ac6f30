"""Titles and stated attributes as sellers write them: reworded, shortened, padded, misspelt, wrong."""

import random
from collections.abc import Mapping

from afmrl_models.catalog.generated.products import Product
from afmrl_models.catalog.generated.sellers import Seller
from afmrl_models.catalog.generated.taxonomy import BRANDS

MISSING_SHARE = 0.25
WRONG_SHARE = 0.05
DISTINGUISHING_IN_TITLE = 0.3

_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "grey": ("gray", "ash"), "navy": ("dark blue", "navy blue"), "sky blue": ("light blue", "pale blue"),
    "teal": ("petrol", "blue-green"), "olive": ("khaki", "army green"), "burgundy": ("wine red", "bordeaux"),
    "beige": ("sand", "cream"), "pink": ("rose", "blush"), "purple": ("violet",), "white": ("off white",),
    "plain": ("solid", "one-colour"), "stripes": ("striped",), "pinstripes": ("fine striped", "pinstriped"),
    "checks": ("checked", "plaid"), "dots": ("polka dot", "spotted"), "floral": ("flower print",),
    "colour block": ("two-tone",), "zigzag": ("chevron",), "crew neck": ("round neck",),
    "scoop neck": ("deep neck",),
    "boat neck": ("wide neck",), "rose gold": ("rosegold",), "gunmetal": ("dark metal",),
}  # fmt: skip
_FORMS: Mapping[str, tuple[str, ...]] = {
    "trim": ("{} trim", "with {} details", "{} accents"),
    "sole": ("{} sole", "sole {}"),
    "hardware": ("{} hardware", "{} fittings"),
    "inside": ("{} inside", "inner {}"),
    "cap": ("{} cap", "{} lid"),
    "dial": ("{} dial", "{} face"),
    "metal": ("{} metal", "{} finish"),
    "lens": ("{} lenses", "{} lens"),
    "sleeve": ("{} sleeve", "{} sleeves"),
    "collar": ("{} collar",),
    "buttons": ("{} buttons", "{}-button"),
    "pockets": ("{} pockets", "pockets: {}"),
    "length": ("{} length", "{}"),
    "skirt": ("{} skirt", "{}"),
    "height": ("{} top", "{} cut"),
    "handle": ("{} handle",),
    "closure": ("{} closure", "{}"),
    "strap": ("{} strap", "{} band"),
    "markers": ("{} markers",),
    "subdials": ("{} subdials", "{} small dials"),
    "finish": ("{} finish", "{}"),
    "rim": ("{} rim", "{} frame"),
    "bridge": ("{} bridge",),
    "shade": ("{} shade",),
    "base": ("{} base", "{} foot"),
    "shape": ("{}", "{} shape"),
}
_SPECIAL: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("sleeve", "sleeveless"): ("sleeveless", "no sleeves"),
    ("pockets", "0"): ("no pockets",),
    ("pockets", "1"): ("one pocket", "chest pocket"),
    ("pockets", "2"): ("two pockets", "2 chest pockets"),
    ("subdials", "0"): ("no subdials",),
    ("subdials", "1"): ("one subdial",),
    ("handle", "none"): ("no handle", "handleless"),
    ("handle", "long strap"): ("long strap", "crossbody strap"),
    ("waist", "plain"): ("no belt",),
    ("waist", "belt"): ("belted", "with belt"),
    ("waist", "bow"): ("bow waist", "with bow"),
    ("volume", "0.25 l"): ("250 ml", "0.25L", "25 cl"),
    ("volume", "0.33 l"): ("330 ml", "0.33L", "33 cl"),
    ("volume", "0.5 l"): ("500 ml", "0.5L", "half litre"),
    ("volume", "0.75 l"): ("750 ml", "0.75L", "75 cl"),
    ("volume", "1 l"): ("1000 ml", "1L", "1 litre"),
    ("volume", "1.5 l"): ("1500 ml", "1.5L", "1.5 litre"),
}
_NOISE = (
    "fast delivery", "free shipping", "new", "top quality", "best price", "original", "sale", "gift idea",
    "limited offer", "in stock", "hot deal", "must have", "new season", "24h dispatch", "great value",
    "bestseller",
)  # fmt: skip
_CORE = ("brand", "colour", "type")


def title(product: Product, seller: Seller, rng: random.Random) -> str:
    """A title of the product in the seller's manner; it often leaves out what sets the product apart."""
    phrases = {"type": rng.choice(product.kind.words)}
    for key, value in product.attributes.items():
        if key == "type":
            continue
        share = {"brand": 0.8, "colour": 0.65}.get(key, seller.detail)
        if key == product.varies:
            share = DISTINGUISHING_IN_TITLE
        if rng.random() < share:
            phrases[key] = _phrase(key, value, rng)
    details = [key for key in phrases if key not in _CORE]
    rng.shuffle(details)
    core = [key for key in seller.order if key in phrases]
    if seller.details_first:
        place = core.index("type")
        words = [*core[:place], *details[:2], *core[place:], *details[2:]]
    else:
        words = [*core, *details]
    parts = [phrases[key] for key in words]
    text = seller.joint.join([" ".join(parts[: len(core)]), *parts[len(core) :]])
    if rng.random() < seller.noise:
        shout = rng.choice(_NOISE)
        text = f"{text} {shout}" if rng.random() < 0.6 else f"{shout}! {text}"
    text = " ".join(
        _misspelt(word, rng) if rng.random() < seller.misspelling else word for word in text.split()
    )
    return {"title": text.title, "upper": text.upper, "lower": text.lower, "plain": text.strip}[
        seller.letters
    ]()


def _phrase(key: str, value: str, rng: random.Random) -> str:
    if (key, value) in _SPECIAL:
        return rng.choice(_SPECIAL[key, value])
    if rng.random() < 0.25:
        value = rng.choice(_SYNONYMS.get(value, (value,)))
    return rng.choice(_FORMS.get(key, ("{}",))).format(value)


def _misspelt(word: str, rng: random.Random) -> str:
    if len(word) < 4 or not word.isalpha():
        return word
    at = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(3)
    if kind == 0:
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return word[:at] + (word[at + 1 :] if kind == 1 else word[at] + word[at:])


def stated(product: Product, rng: random.Random) -> dict[str, str]:
    """What a seller fills in: MISSING_SHARE of the attributes are left out, WRONG_SHARE of the rest wrong."""
    result: dict[str, str] = {}
    for key, value in product.attributes.items():
        missing, wrong = rng.random() < MISSING_SHARE, rng.random() < WRONG_SHARE
        if missing:
            continue
        if wrong and key != "type":
            choices = BRANDS if key == "brand" else product.kind.attributes[key]
            value = rng.choice([other for other in choices if other != value])
        result[key] = value
    return result
