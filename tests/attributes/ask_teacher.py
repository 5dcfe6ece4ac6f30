"""A client process of the openai teacher, for tests that kill it.

python ask_teacher.py BASE_URL STORE LISTINGS KEPT
"""

import sys
from pathlib import Path

import pandas as pd

from afmrl_models.attributes.teachers import open_teacher
from afmrl_models.catalog.images import ImageStore
from afmrl_models.config import TeacherConfig

if __name__ == "__main__":
    base_url, store, listings, kept = sys.argv[1:]
    config = TeacherConfig(kind="openai", model="m", base_url=base_url, concurrency=4)
    teacher = open_teacher(config, ["colour", "name"])
    teacher.write(pd.read_json(listings, dtype=False), ImageStore.open(Path(store)), kept=Path(kept))
