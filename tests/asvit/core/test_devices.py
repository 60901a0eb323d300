"""Which errors mean that an accelerator computes nothing any more."""

import torch

from asvit.core.devices import device_failed
from proxies.evaluation import DeviceError


def test_what_counts_as_a_failure_of_a_device() -> None:
    assert device_failed(torch.AcceleratorError("CUDA error: device-side assert triggered"))
    assert device_failed(DeviceError("device cuda:0 computes nothing any more"))
    for why in (
        "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, opa)`",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
    ):
        assert device_failed(RuntimeError(why))
    for error in (
        RuntimeError("cuDNN error: CUDNN_STATUS_BAD_PARAM"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"),
        torch.AcceleratorError("CUDA error: out of memory"),
    ):
        assert not device_failed(error)
    assert not device_failed(RuntimeError("shapes differ"))
