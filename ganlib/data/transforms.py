"""The hall: bytes 0..255 become -1..1 once at the entrance, and bytes again once at the window."""

import torch


def normalize(pixels):
    """Bytes 0..255, uint8, any shape -> float32 in -1..1, same shape; 0 becomes -1 and 255 becomes 1."""
    return pixels.float() / 127.5 - 1


def denormalize(images):
    """Floats in -1..1, any shape -> bytes 0..255, uint8, same shape; values outside are clipped to the ends."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def mirror(images):
    """Image (N, C, H, W) -> the same, each flipped left to right with probability 1/2."""
    flipped = torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5
    return torch.where(flipped, images.flip(3), images)
