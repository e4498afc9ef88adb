"""Bytes 0..255 become -1..1 where images come in, and bytes again where they go out."""

import torch
from torch import Tensor


def normalize(pixels: Tensor) -> Tensor:
    """Bytes 0..255, any shape -> float32 in -1..1, same shape; 0 becomes -1, 255 1."""
    return pixels.float() / 127.5 - 1


def denormalize(images: Tensor) -> Tensor:
    """Floats in -1..1, any shape -> the nearest bytes 0..255, uint8, same shape.

    Values outside of -1..1 become 0 or 255.
    """
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
