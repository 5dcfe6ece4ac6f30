"""The special tokens of Qwen-VL tokenizers, and how catalog text is kept from becoming one."""

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)


def neutralise(text: str) -> str:
    """Catalog text as plain text: no substring of the result is a special token, whatever a seller wrote.

    Every Qwen special token begins with `<|`; a space between the two characters is enough, keeps the text
    readable and does nothing to text without them. `neutralise(neutralise(x)) == neutralise(x)`.
    """
    return text.replace("<|", "< |")
