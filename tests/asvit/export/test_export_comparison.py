import math
from pathlib import Path

import pytest
import torch
from exported_networks import SHIFT, as_file
from torch import Tensor, nn

from asvit.export.comparison import Difference, compare, difference, noise, run_copy
from asvit.export.formats import FORMATS
from asvit.export.writers import write_copy


@pytest.mark.parametrize(
    "name",
    [  # tests/asvit/use/test_predicting.py exports the others, which compares them, too: timm's
        # in a fresh process; one of ONNX is below
        name if name == "pt2" else pytest.param(name, marks=pytest.mark.nightly)
        for name in FORMATS
    ],
)
def test_a_copy_reloaded_in_a_fresh_process_is_equal(name: str, tmp_path: Path) -> None:
    model, content = as_file(SHIFT)
    form = FORMATS[name]
    path = tmp_path / f"copy{form.suffix}"
    write_copy(form, path, model=model, content=content)
    found = compare(model, form, path, noise((3, SHIFT.image_size, SHIFT.image_size), (1, 3)))
    assert [one.batch for one in found] == [1, 3]
    assert all(one.equal for one in found)


def test_a_difference_is_of_the_largest_output() -> None:
    expected = torch.tensor([[1.0, -4.0], [0.0, 2.0]])
    apart = difference(expected + torch.tensor([[0.0, 0.0], [0.001, 0.0]]), expected)
    assert (apart.batch, apart.absolute) == (2, pytest.approx(0.001))
    assert apart.relative == pytest.approx(0.00025)
    assert not apart.equal
    assert difference(expected, expected) == Difference(2, 0.0, 0.0)
    unknown = difference(torch.full((2, 2), math.nan), expected)
    assert math.isnan(unknown.relative)
    assert not unknown.equal
    with pytest.raises(ValueError, match=r"gives \(1, 3\) where the network gives \(2, 2\)"):
        difference(torch.ones(1, 3), expected)


class _Constant(nn.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, images: Tensor) -> Tensor:
        return torch.full((len(images), 2), self.value)


@pytest.mark.parametrize(
    ("value", "message"), [(0.0, "gives 0 for every image"), (math.nan, "gives NaN or infinity")]
)
def test_outputs_that_would_prove_nothing_are_refused(
    value: float, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        compare(_Constant(value), FORMATS["onnx"], tmp_path / "x", noise((3, 8, 8), (1,)))


def test_a_copy_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    path = tmp_path / "copy.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(ChildProcessError, match=r"cannot be loaded and run: .*copy\.onnx"):
        run_copy(FORMATS["onnx"], path, {"one": torch.zeros(1, 3, 8, 8)})
