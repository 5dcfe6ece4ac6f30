"""MLflow: runs, datasets, registered model versions, aliases and packaging."""

import os

# Before anything imports mlflow: it decides at import whether to report usage to its makers.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
# A bar for every file that is copied within this machine.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
