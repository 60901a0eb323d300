"""The Python on the page about exporting runs as it stands there."""

import re
from pathlib import Path

import pytest

from asvit.export import FORMATS, write_copy
from asvit.networks import Network, WeightsFile

PAGE = (Path(__file__).parents[3] / "docs" / "export.md").read_text(encoding="utf-8")
NETWORK = Network("shift:1,1,1,1|1|8|1|16", image_size=224, num_classes=3)


def test_the_blocks_run_one_after_the_other(tmp_path: Path) -> None:
    model = NETWORK.build().eval()
    content = WeightsFile(NETWORK, model.state_dict(), ("cat", "dog", "ox"))
    run = tmp_path / "runs" / "train-pets"
    run.mkdir(parents=True)
    content.write(run / "model.safetensors")
    for name in ("pt2", "timm", "safetensors"):
        form = FORMATS[name]
        write_copy(form, tmp_path / f"pets{form.suffix}", model=model, content=content)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 7
    for block in blocks:
        names: dict[str, object] = {}
        exec(compile(block, "docs/export.md", "exec"), names)
        if "known" in names:
            known = names["known"]
            assert isinstance(known, dict)
            assert known["network"] == NETWORK.to_json()
            assert known["classes"] == ["cat", "dog", "ox"]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_in_the_table(name: str) -> None:
    assert re.search(rf"^\| `{name}` \|", PAGE, re.MULTILINE)
