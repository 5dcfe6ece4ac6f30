"""LoRA through peft, as a profile asks for it."""

from peft import LoraConfig

from afmrl_models.config import LoraSettings


def lora_config(settings: LoraSettings | None, task: str | None = None) -> LoraConfig | None:
    """peft's configuration of new adapters; None where the profile wants all weights trained."""
    if settings is None:
        return None
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.target_modules),
        task_type=task,
    )
