import sys
from pathlib import Path

import pytest

from asvit.export.formats import FOLDER_FILES, FORMATS, Format

ONNX, TIMM = FORMATS["onnx"], FORMATS["timm"]


def test_a_library_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"needs onnxruntime: .* pip install '\.\[export\]'"):
        ONNX.check_libraries()
    FORMATS["pt2"].check_libraries()


@pytest.mark.parametrize(
    ("form", "name", "message"),
    [
        (ONNX, "a.pt2", r"files for onnx end in \.onnx, got 'a\.pt2'"),
        (TIMM, "a.safetensors", r"timm gets a folder, got 'a\.safetensors'; for one file"),
    ],
)
def test_a_copy_has_the_suffix_of_its_format(
    form: Format, name: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        form.check_out(tmp_path / name, card=True, force=False)


@pytest.mark.parametrize("there", ["a.onnx", "a.onnx.md"])
def test_what_is_there_is_replaced_only_if_asked(there: str, tmp_path: Path) -> None:
    (tmp_path / there).write_text("* format: onnx\n")
    with pytest.raises(FileExistsError, match=f"{there}' exists; name another one or give --for"):
        ONNX.check_out(tmp_path / "a.onnx", card=True, force=False)
    ONNX.check_out(tmp_path / "a.onnx", card=True, force=True)
    if there == "a.onnx.md":
        ONNX.check_out(tmp_path / "a.onnx", card=False, force=False)


def test_only_a_card_of_ours_is_removed(tmp_path: Path) -> None:
    card = ONNX.card_path(tmp_path / "a.onnx")
    for text, stays in (("my notes", True), ("# a\n\n* format: onnx\n", False)):
        card.write_text(text)
        ONNX.remove_card(tmp_path / "a.onnx")
        assert card.exists() == stays


def test_a_folder_with_anything_else_in_it_is_never_replaced(tmp_path: Path) -> None:
    for name in FOLDER_FILES:
        (tmp_path / name).write_text("")
    TIMM.check_out(tmp_path, card=True, force=True)
    with pytest.raises(FileExistsError, match="exists"):
        TIMM.check_out(tmp_path, card=True, force=False)
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ValueError, match=r"holds 'thesis\.tex', which is not part of a model"):
        TIMM.check_out(tmp_path, card=True, force=True)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    for form in FORMATS.values():
        with pytest.raises(FileNotFoundError, match=r"no folder '.*nowhere'"):
            form.check_out(tmp_path / "nowhere" / f"a{form.suffix}", card=True, force=False)
