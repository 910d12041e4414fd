"""In which precision the matrix products of training are computed."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch

Precision = Literal["auto", "fp32", "bf16"]


def resolve(precision: Precision, device: torch.device) -> Precision:
    """What `auto` means on a device: `bf16` where its hardware multiplies bfloat16 matrices, else `fp32`.

    On a CPU that is AVX512-BF16 or AMX: others compute bfloat16 by way of float32, slower than float32 itself. Any
    other precision stays what it is.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        native = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return "bf16" if native else "fp32"


def products_in(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Inside of it the products are computed so; layers that must not be keep themselves out.

    Args:
        precision: Resolved; `auto` is taken as on that device.
        device: Of the tensors.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=resolve(precision, device) == "bf16")
