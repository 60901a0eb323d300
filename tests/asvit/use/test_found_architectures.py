"""The architecture to train: a text, or what an earlier run ended in."""

import json
from pathlib import Path
from typing import Any

import pytest

from asvit.use.architectures import FoundArchitecture, find_architecture

ARCH = "8,2,3|4,1,2|4,1,4|4,1,6|32"
GROWN = "8,2,3,2|4,1,2,1|4,1,4,1|4,1,6,1|32,40"
MEASURED = {"length_distortion": 3.5, "ntk_condition_number": 12.0}

RESULTS: dict[str, dict[str, Any]] = {
    "search": {"seed_architecture": ARCH, **MEASURED, "best": "another"},
    "scale": {
        "architecture": GROWN, "seed_architecture": ARCH,
        "settings": {"count_size": 48, "classes": 7, "image_size": 32},
        "steps": [{"length_distortion": 1.0}, MEASURED],
    },
    "evolution": {"architecture": ARCH, "validation": 50.0},
    "training": {
        "architecture": ARCH, "network": {"image_size": 96, "num_classes": 5, "in_chans": 1},
    },
    "design": {"architecture": ARCH, "image_size": 64, "classes": ["cat", "dog"]},
}  # fmt: skip


def finished(folder: Path, content: object) -> str:
    (folder / "result.json").write_bytes(json.dumps(content).encode())
    return str(folder)


def test_a_text_is_taken_in_its_canonical_form() -> None:
    assert find_architecture("8,2,3,1|4,1,2|4,1,4|4,1,6|32") == FoundArchitecture(ARCH)
    assert find_architecture("timm:resnet18") == FoundArchitecture("timm:resnet18")


@pytest.mark.parametrize("kind", RESULTS)
def test_a_run_folder_stands_for_what_the_run_ended_in(tmp_path: Path, kind: str) -> None:
    architecture = find_architecture(finished(tmp_path, {"kind": kind, **RESULTS[kind]}))
    assert find_architecture(str(tmp_path / "result.json")) == architecture
    assert architecture.text == (GROWN if kind == "scale" else ARCH)
    measured = MEASURED if kind in ("search", "scale") else {}
    assert architecture.by == {"kind": kind, "run": str(tmp_path), **measured}
    sizes = {"training": (96, 5, 1), "design": (64, 2, 3), "scale": (48, 7, 3)}
    assert architecture.sizes == sizes.get(kind)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no result\.json: it is no finished run"):
        find_architecture(str(tmp_path))
    with pytest.raises(ValueError, match="of kind 'correlation', which ends in no architecture"):
        find_architecture(finished(tmp_path, {"kind": "correlation"}))
    with pytest.raises(ValueError, match="ends in no architecture that is known here"):
        find_architecture(finished(tmp_path, {"kind": "training", "architecture": "8,2"}))
    with pytest.raises(ValueError, match="ends in no architecture that is known here"):
        find_architecture(finished(tmp_path, {"kind": "search"}))
    for network in (7, {"attention": "hallucinated"}):
        content = {"kind": "training", "architecture": ARCH, "network": network}
        with pytest.raises(ValueError, match="ends in no architecture that is known here"):
            find_architecture(finished(tmp_path, content))
    for text in ("{", "[1, 2]"):
        (tmp_path / "result.json").write_text(text)
        with pytest.raises(ValueError, match="is damaged"):
            find_architecture(str(tmp_path))


def test_an_unknown_text() -> None:
    with pytest.raises(ValueError, match="did you mean 'timm:resnet18'"):
        find_architecture("timm:resnet81")
