"""`transformers serve` of a checkpoint directory, with the processor that needs no torchvision.

python serve_model.py DIRECTORY PORT
"""

import sys

from transformers.cli.transformers import app

from afmrl_models.backbones.processor import register

if __name__ == "__main__":
    directory, port = sys.argv[1:]
    register()
    app(["serve", directory, "--host", "127.0.0.1", "--port", port, "--device", "cpu"])
