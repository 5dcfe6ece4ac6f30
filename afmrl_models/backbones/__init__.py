"""Backbones: small Qwen-VL models built here, hub models resolved, and the processor without torchvision.

Call `processor.register()` before anything loads a model directory.
"""
