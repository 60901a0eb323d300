"""The lines that load a copy are run as they are shown."""

from pathlib import Path
from typing import Any

import pytest
from exported_networks import SHIFT, as_file

from asvit.export import FORMATS, write_copy
from asvit.export.exported import loading_code
from asvit.networks import Network


@pytest.mark.parametrize("name", FORMATS)
def test_the_lines_run(name: str, tmp_path: Path) -> None:
    model, content = as_file(SHIFT)
    form = FORMATS[name]
    place = tmp_path / f'a "copy"{form.suffix}'
    write_copy(form, place, model=model, content=content)
    names: dict[str, object] = {}
    exec(loading_code(name, str(place), SHIFT, batch=2), names)
    logits: Any = names["logits"]
    assert tuple(logits.shape) == (2, 3)


def test_a_network_of_timm_is_loaded_without_us() -> None:
    code = loading_code("timm", "folder", Network("timm:test_vit", 32, 3))
    assert "asvit" not in code
    assert '    "test_vit",\n    num_classes=3,\n    img_size=32,\n' in code
