"""Shorter numbers: half precision, and float32 products that may be rounded."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ganlib.config import Config


@contextmanager
def matmul_precision(name: str) -> Iterator[None]:
    """Inside the `with`, float32 products are as exact as `name` says; then as before.

    Args:
        name: "highest", or "high" or "medium", with which a device that can may round
            the factors first; see torch.set_float32_matmul_precision.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def precision(config: Config, device: torch.device) -> Iterator[None]:
    """Inside the `with`, numbers are as short as `config` says; then as before."""
    # A cache would keep the first cast of each weight while the weight moves on.
    autocast = torch.autocast(
        device.type, torch.bfloat16, enabled=config.bfloat16, cache_enabled=False
    )
    with autocast, matmul_precision(config.matmul_precision):
        yield
