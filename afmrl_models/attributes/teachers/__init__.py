"""Teachers: who writes the attributes that the generator is distilled from."""

from collections.abc import Sequence

from afmrl_models.attributes.teachers.catalog import CatalogTeacher, catalog_keys
from afmrl_models.attributes.teachers.teacher import Teacher, TeacherError
from afmrl_models.config import TeacherConfig

__all__ = ["Teacher", "TeacherError", "catalog_keys", "open_teacher"]


def open_teacher(config: TeacherConfig, keys: Sequence[str], device: str = "cpu") -> Teacher:
    """The teacher of a profile.

    keys: those asked for; none: the catalog teacher takes the most stated ones, models choose themselves.
    device: where a local model runs.
    """
    if config.kind == "catalog":
        return CatalogTeacher(keys)
    if config.kind == "openai":
        from afmrl_models.attributes.teachers.openai_endpoint import OpenAITeacher

        return OpenAITeacher(config, keys)
    from afmrl_models.attributes.teachers.local_mllm import LocalTeacher

    return LocalTeacher(config, keys, device)
