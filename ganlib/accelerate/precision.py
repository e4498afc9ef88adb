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


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies in bfloat16 itself.

    Others imitate it in float32, which takes longer than float32 does: on a CPU many
    times as long.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        can = torch.cpu.get_capabilities()
        return any(can.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return True


@contextmanager
def precision(config: Config, device: torch.device) -> Iterator[None]:
    """Inside the `with`, numbers are as short as `config` says; then as before."""
    # A cache would keep the first cast of each weight while the weight moves on.
    autocast = torch.autocast(
        device.type, torch.bfloat16, enabled=config.bfloat16, cache_enabled=False
    )
    with autocast, matmul_precision(config.matmul_precision):
        yield
