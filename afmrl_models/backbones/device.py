"""Which device a profile's `device` means on this machine."""

import torch

from afmrl_models.errors import UserError


def pick_device(device: str) -> str:
    """`auto` is `cuda` where a GPU answers, else `cpu`; `cpu` and `cuda` are taken at their word.

    Raises UserError for `cuda` on a machine without one, and for anything else.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device: cuda was asked for, but torch finds no GPU here; set device to auto or cpu")
    if device not in ("cpu", "cuda"):
        raise UserError(f"device: {device!r} is not one of auto, cpu, cuda")
    return device
