"""The generator as MLflow serves it (models from code): MLflow runs this file when it loads a version."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from afmrl_models.attributes.generator import AttributeGenerator
from afmrl_models.backbones.device import pick_device
from afmrl_models.config import GenerationConfig
from afmrl_models.registry.packaging import read_settings
from afmrl_models.registry.requests import request_listings


class Generator(PythonModel):
    """Frame of image_path and title → attribute texts as the model wrote them, valid or not."""

    def load_context(self, context: Any) -> None:
        """Load the model directory that was packaged with the version."""
        directory = Path(context.artifacts["model"])
        self.settings = read_settings(directory)
        self.generator = AttributeGenerator.load(
            directory, pick_device("auto"), getattr(torch, self.settings["dtype"])
        )

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[str]:
        """Write one text a row, greedily."""
        listings, photos, _ = request_listings(model_input, self.settings["image_size"])
        generation = GenerationConfig(**self.settings["generation"])
        return self.generator.generate(listings, photos, self.settings["keys"], generation)


set_model(Generator())
