"""The embedder as MLflow serves it (models from code): MLflow runs this file when it loads a version."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from afmrl_models.backbones.device import pick_device
from afmrl_models.embedding.embedder import encode_listings, load_embedder
from afmrl_models.registry.packaging import read_settings
from afmrl_models.registry.requests import request_listings


class Embedder(PythonModel):
    """Frame of image_path, title and attributes (text or null) → unit vectors, float32 (N, D)."""

    def load_context(self, context: Any) -> None:
        """Load the model directory that was packaged with the version."""
        directory = Path(context.artifacts["model"])
        self.settings = read_settings(directory)
        self.model = load_embedder(directory, pick_device("auto"))

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> np.ndarray:
        """Embed the rows; params: `modality` (image, text or multimodal) and `batch_size`."""
        params = params or {}
        listings, photos, attributes = request_listings(model_input, self.settings["image_size"])
        return encode_listings(
            self.model,
            listings,
            photos,
            params.get("modality", "multimodal"),
            attributes,
            int(params.get("batch_size", 64)),
        )


set_model(Embedder())
