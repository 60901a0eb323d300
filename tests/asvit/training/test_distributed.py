"""One process: what it is, and what it says where it cannot be."""

import logging
import sys

import pytest
import torch
from torch import nn

from asvit.training.distributed import ProcessGroup


def test_alone() -> None:
    alone = ProcessGroup("cpu")
    assert (alone.rank, alone.world, alone.first) == (0, 1, True)
    assert alone.device == torch.device("cpu")
    model = nn.Linear(2, 3)
    assert alone.wrap(model) is model
    values = torch.tensor([1.0, 2.0])
    assert torch.equal(alone.sum(values), values)
    assert torch.equal(alone.mean(values), values)
    assert alone.gather("what") == ["what"]
    with alone.no_sync(model), alone.first_before_others():
        alone.wait()


def test_an_unknown_device() -> None:
    with pytest.raises(ValueError, match="device 'tpu9' is not available"):
        ProcessGroup("tpu9")


def test_without_accelerate_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ImportError, match=r"needs accelerate: pip install 'asvit\[train\]'"):
        ProcessGroup("cpu")


def test_a_launcher_that_starts_one_process_only_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    with caplog.at_level(logging.WARNING):
        ProcessGroup("cpu")
    assert "has started one process" in caplog.text
