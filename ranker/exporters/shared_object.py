"""A network that AOTInductor compiled, called by the C interface of its shared object."""

from __future__ import annotations

import ctypes
import weakref
from ctypes import byref, c_char_p, c_int32, c_int64, c_size_t, c_void_p
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

# Shapes: K = item rows, padded; V = columns of the item's side; P = request products; T = tasks

_CONTAINER = "AOTInductorModelContainer"
_Handles, _Pair = c_void_p * 2, c_int64 * 2
_TWO, _START = c_int64(2), c_int64(0)


class SharedObject:
    """From `item_KV` and `request_1P` to raw outputs of each task, stacked by the network itself.

    torch's own Python binding holds the interpreter while the network runs, so that a server could not read the next
    request meanwhile; calls by `ctypes` let it go. Both interfaces are C that torch keeps stable: that of the compiled
    network (torch/csrc/inductor/aoti_runtime/interface.h) and that of tensors (aoti_torch/c/shim.h).

    Threads may call it at once, and take turns then. Its weights go when nothing refers to it any more; its code may
    stay mapped until the process ends, as GCC has it for C++.

    Args:
        path: The shared object; it is code, and is trusted.

    Raises:
        RuntimeError: It cannot be loaded.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._library = ctypes.CDLL(str(path))
        except OSError as error:
            raise RuntimeError(str(error)) from error
        self._container = c_void_p()
        self._call(f"{_CONTAINER}CreateWithDevice", byref(self._container), c_size_t(1), b"cpu", None)
        weakref.finalize(self, _unload, self._library, self._container)

    def __call__(self, item_KV: Tensor, request_1P: Tensor) -> Tensor:
        """Raw outputs [T, K]; inputs are float32, as wide as when it was compiled, which nobody checks.

        Raises:
            RuntimeError: The network reports an error.
        """
        item_KV, request_1P = item_KV.contiguous(), request_1P.contiguous()  # alive while the network reads them
        inputs = _Handles(_borrowed(item_KV), _borrowed(request_1P))  # owned by the network from the call on
        output = c_void_p()
        self._call(f"{_CONTAINER}Run", self._container, inputs, c_size_t(2), byref(output), c_size_t(1), None, None)
        try:
            return _copied(output).view(-1, item_KV.size(0))
        finally:
            _check(_tensors().aoti_torch_delete_tensor_object(output))

    def _call(self, name: str, *arguments: object) -> None:
        if getattr(self._library, name)(*arguments) != 0:
            message = c_char_p()
            self._library.AOTInductorGetLastError(byref(message))
            raise RuntimeError((message.value or b"its cause is in the log").decode(errors="replace"))


@cache
def _tensors() -> ctypes.PyDLL:
    """torch's C interface of tensors; its calls are too short to let another thread have the interpreter."""
    return ctypes.PyDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))


@cache
def _floats() -> tuple[c_int32, c_int32, c_int32]:
    """The type and the place of tensors of float32 in memory."""
    return c_int32(_tensors().aoti_torch_dtype_float32()), c_int32(_tensors().aoti_torch_device_type_cpu()), c_int32(0)


def _borrowed(matrix: Tensor) -> c_void_p:
    """A handle of a tensor that shares the memory of a dense matrix, and does not keep it alive."""
    data, shape, strides = c_void_p(matrix.data_ptr()), _Pair(*matrix.shape), _Pair(matrix.size(1), 1)
    handle = c_void_p()
    where = *_floats(), byref(handle)
    _check(_tensors().aoti_torch_create_tensor_from_blob(data, _TWO, shape, strides, _START, *where))
    return handle


def _copied(handle: c_void_p) -> Tensor:
    """What a dense tensor of float32 holds, flat."""
    data, count, library = c_void_p(), c_int64(), _tensors()
    _check(library.aoti_torch_get_data_ptr(handle, byref(data)))
    _check(library.aoti_torch_get_numel(handle, byref(count)))
    values = torch.empty(count.value)
    ctypes.memmove(values.data_ptr(), data, values.nbytes)
    return values


def _check(status: int) -> None:
    if status != 0:
        raise RuntimeError("torch refused a tensor of a compiled network; its cause is in the log")


def _unload(library: ctypes.CDLL, container: c_void_p) -> None:
    getattr(library, f"{_CONTAINER}Delete")(container)
    ctypes.CDLL(None).dlclose(c_void_p(library._handle))
