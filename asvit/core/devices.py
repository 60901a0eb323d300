"""Failures of accelerators, after which a process computes nothing any more."""

import re

from proxies.messages import first_line, out_of_memory

# What cuBLAS and cuDNN report of a device that failed, which torch raises as a RuntimeError.
_DEVICE_FAILED = re.compile(
    "(CUBLAS|CUDNN)_STATUS_(EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR|NOT_INITIALIZED)"
)


def device_failed(error: BaseException) -> bool:
    """Whether an accelerator failed, or a kernel on it, but not for lack of memory.

    Types are told by their names, as by :func:`out_of_memory`.
    """
    if out_of_memory(error):
        return False
    if type(error).__name__ in ("AcceleratorError", "DeviceError"):  # of torch, and ours
        return True
    return isinstance(error, RuntimeError) and bool(_DEVICE_FAILED.search(first_line(error)))
