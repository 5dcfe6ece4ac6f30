"""Types of products, their attributes and the values these can take. All but `brand` show on the photo."""

from dataclasses import dataclass

from afmrl_models.catalog.generated.colours import PALETTE

COLOURS = tuple(PALETTE)
BRANDS = (
    "Norvik", "Alba", "Tessaro", "Kumo", "Lindqvist", "Ponto", "Ravelle", "Osmo",
    "Brightwell", "Zanto", "Fjell", "Marlow", "Quill", "Sorrel", "Vanta", "Hikari",
)  # fmt: skip
METALS = ("gold", "silver", "rose gold", "gunmetal")
PRINTS = ("plain", "stripes", "pinstripes", "checks", "dots", "zigzag", "floral", "colour block")
VOLUMES = ("0.25 l", "0.33 l", "0.5 l", "0.75 l", "1 l", "1.5 l")


@dataclass(frozen=True)
class ProductType:
    """A type of product: its words, its attributes (name to values) and which colours must stand out."""

    name: str
    category: str
    words: tuple[str, ...]
    attributes: dict[str, tuple[str, ...]]
    contrasts: tuple[tuple[str, str], ...]
    flips: bool

    def stated_keys(self) -> tuple[str, ...]:
        """Every attribute a seller can state, in the order of the columns."""
        return ("type", "brand", *self.attributes)


TYPES: tuple[ProductType, ...] = (
    ProductType(
        "t-shirt", "t-shirts", ("t-shirt", "tee", "T shirt", "jersey top"),
        {
            "colour": COLOURS,
            "pattern": PRINTS,
            "material": ("cotton", "ribbed knit", "heather jersey"),
            "trim": COLOURS,
            "neckline": ("crew neck", "v-neck", "scoop neck", "boat neck", "square neck"),
            "sleeve": ("sleeveless", "cap", "short", "elbow", "long"),
        },
        (("colour", "trim"),), False,
    ),
    ProductType(
        "shirt", "shirts", ("shirt", "button-up shirt", "casual shirt", "button down"),
        {
            "colour": COLOURS,
            "pattern": PRINTS,
            "material": ("poplin", "denim", "corduroy"),
            "trim": COLOURS,
            "collar": ("point", "band", "camp", "wing"),
            "sleeve": ("short", "rolled", "long"),
            "buttons": ("3", "4", "5", "6", "7", "8"),
            "pockets": ("0", "1", "2"),
        },
        (("colour", "trim"),), False,
    ),
    ProductType(
        "dress", "dresses", ("dress", "frock", "summer dress", "gown"),
        {
            "colour": COLOURS,
            "pattern": PRINTS,
            "trim": COLOURS,
            "neckline": ("crew neck", "v-neck", "scoop neck", "boat neck", "square neck"),
            "sleeve": ("sleeveless", "cap", "short", "elbow", "long"),
            "length": ("mini", "knee", "midi", "maxi"),
            "skirt": ("a-line", "pencil", "tiered"),
            "waist": ("plain", "belt", "bow"),
        },
        (("colour", "trim"),), True,
    ),
    ProductType(
        "sneaker", "shoes", ("sneaker", "trainers", "sports shoe", "sneakers"),
        {
            "colour": COLOURS,
            "pattern": ("plain", "side stripe", "three stripes", "wave", "colour block"),
            "material": ("leather", "canvas", "mesh"),
            "trim": COLOURS,
            "sole": ("white", "black", "brown", "grey", "red", "beige"),
            "closure": ("laces", "velcro", "slip-on", "zip"),
            "height": ("low", "mid", "high"),
        },
        (("colour", "trim"), ("colour", "sole")), True,
    ),
    ProductType(
        "handbag", "bags", ("handbag", "bag", "purse", "shoulder bag"),
        {
            "colour": COLOURS,
            "material": ("smooth leather", "quilted leather", "croc leather", "woven straw"),
            "hardware": METALS,
            "shape": ("tote", "satchel", "bucket", "half-moon", "trapeze"),
            "handle": ("single", "double", "chain", "long strap"),
            "closure": ("flap", "zip", "clasp", "buckle"),
        },
        (("colour", "hardware"),), True,
    ),
    ProductType(
        "mug", "mugs", ("mug", "coffee mug", "cup", "tea cup"),
        {
            "colour": COLOURS,
            "pattern": ("plain", "stripes", "dots", "checks", "zigzag", "hearts", "band"),
            "trim": COLOURS,
            "shape": ("straight", "tapered", "barrel", "belly"),
            "handle": ("round", "square", "ear", "none"),
            "inside": ("white", "black", "yellow", "red", "teal", "pink"),
        },
        (("colour", "trim"), ("colour", "inside")), False,
    ),
    ProductType(
        "bottle", "bottles", ("water bottle", "bottle", "drinking bottle", "flask"),
        {
            "colour": COLOURS,
            "material": ("steel", "glass", "plastic"),
            "volume": VOLUMES,
            "cap": COLOURS,
            "closure": ("screw cap", "flip top", "loop cap", "sports cap"),
            "shape": ("slim", "wide", "shouldered", "waisted"),
            "pattern": ("plain", "band", "stripes", "dots"),
        },
        (("colour", "cap"),), False,
    ),
    ProductType(
        "drink carton", "drinks", ("drink carton", "drink", "carton", "beverage"),
        {
            "flavour": ("orange", "apple", "cherry", "grape", "lemon", "pear", "strawberry", "blueberry"),
            "volume": VOLUMES,
            "colour": COLOURS,
            "cap": ("white", "black", "red", "green", "blue", "yellow", "orange"),
            "shape": ("brick", "gable top", "slim"),
            "pattern": ("plain", "band", "wave", "stripes"),
        },
        (("colour", "cap"),), False,
    ),
    ProductType(
        "watch", "watches", ("watch", "wristwatch", "analogue watch", "timepiece"),
        {
            "colour": COLOURS,
            "strap": ("leather", "steel links", "rubber", "nylon"),
            "dial": ("white", "black", "navy", "green", "red", "beige", "sky blue"),
            "metal": METALS,
            "shape": ("round", "square", "barrel", "octagonal"),
            "markers": ("bars", "dots", "numerals", "quarters"),
            "subdials": ("0", "1", "2", "3"),
        },
        (("dial", "metal"), ("colour", "metal")), False,
    ),
    ProductType(
        "sunglasses", "eyewear", ("sunglasses", "shades", "sun glasses", "eyewear"),
        {
            "colour": COLOURS,
            "shape": ("round", "square", "aviator", "cat-eye", "hexagonal", "wayfarer"),
            "lens": ("black", "brown", "blue", "green", "orange", "pink", "purple"),
            "finish": ("plain", "gradient", "mirrored"),
            "rim": ("thick", "thin", "half"),
            "bridge": ("single", "double"),
        },
        (("colour", "lens"),), True,
    ),
    ProductType(
        "lamp", "lamps", ("table lamp", "lamp", "desk lamp", "bedside light"),
        {
            "colour": COLOURS,
            "pattern": ("plain", "stripes", "dots", "pleats", "zigzag"),
            "trim": COLOURS,
            "shade": ("cone", "drum", "dome", "globe", "bell"),
            "base": ("stem", "tripod", "ball", "arc", "block"),
            "metal": ("black", "white", "brass", "wood", "chrome"),
        },
        (("colour", "trim"),), True,
    ),
)  # fmt: skip

ATTRIBUTE_COLUMNS: tuple[str, ...] = tuple(dict.fromkeys(key for kind in TYPES for key in kind.stated_keys()))
