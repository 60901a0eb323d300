"""``asvit maps``: its files, JSON and refusals."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

import asvit
from asvit.networks import Network, WeightsFile
from asvit.runs.mapping import write_pictures
from tests.asvit.cli.commands import check_refused, run, strict

DEIT = "timm:deit_tiny_patch16_224(depth=2,embed_dim=24)"


@pytest.fixture(autouse=True)
def _pictures(tmp_path: Path) -> None:
    for name, colour in (("red.png", (255, 0, 0)), ("blue.png", (0, 0, 255))):
        Image.new("RGB", (40, 50), colour).save(tmp_path / name)


def test_not_all_of_many_pictures_are_named_where_they_are_to_be_one_file() -> None:
    pictures: Any = [SimpleNamespace(name=f"{number}-maps") for number in range(500)]
    words = r"500 pictures \(0-maps, .*\.\.\.\); give a folder$"
    with pytest.raises(ValueError, match=words) as many:
        write_pictures(pictures, "y.png")
    assert len(str(many.value)) < 1_000


def test_files_are_written_and_listed() -> None:
    result = run(
        "maps", DEIT, ".", "--image-size", "32", "--layer", "-1", "--query", "1,0", "--json"
    )
    assert result.exit_code == 0, result.stderr
    told = strict(result.stdout)
    kinds = [f"maps/{name}-maps.{kind}" for name in ("blue", "red") for kind in ("svg", "csv")]
    assert (told["schema_version"], told["files"]) == (1, kinds)
    assert sorted(map(str, Path("maps").iterdir())) == sorted(kinds)
    rows = Path("maps/red-maps.csv").read_text().splitlines()
    assert len(rows) == 1 + 3 * 4
    assert rows[1].startswith("blocks.1.attn,head 0,0,0,")


def test_nothing_is_overwritten() -> None:
    Path("maps").mkdir()
    Path("maps/red-maps.csv").write_text("mine")
    result = run("maps", DEIT, "blue.png", "red.png", "--image-size", "32")
    check_refused(result, 3, "maps/red-maps.csv exists; give another folder")
    assert [path.name for path in Path("maps").iterdir()] == ["red-maps.csv"]
    assert Path("maps/red-maps.csv").read_text() == "mine"


def test_a_single_picture_is_the_file_that_is_named() -> None:
    words = ["maps", DEIT, "red.png", "--image-size", "32", "--out"]
    for name, kind in (("x.png", "PNG"), ("x.JPG", "JPEG")):
        result = run(*words, name)
        assert (result.exit_code, result.stdout) == (0, f"{name}\n"), result.stderr
        with Image.open(name) as drawn:
            assert (drawn.format, drawn.width > 400) == (kind, True)
    assert run(*words, "x.svg").exit_code == 0
    assert Path("x.svg").read_text().startswith("<?xml")
    check_refused(run(*words, "x.png"), 3, "x.png exists; give another file")
    check_refused(run(*words, "no/x.png"), 3, "no folder 'no' for 'x.png'")
    several = run(*words[:2], ".", *words[3:], "y.png")
    check_refused(several, 3, "y.png is one file, and there are 4 pictures")
    assert not Path("y.png").exists()


@pytest.mark.parametrize("place", ["run", "run/model.safetensors", "--weights"])
def test_a_trained_network_says_what_it_is(place: str) -> None:
    network = Network("psvit1d:s-----|b-----|b-----|12", 64, 3)
    model = network.build()
    Path("run").mkdir()
    WeightsFile(network, model.state_dict()).write(Path("run/model.safetensors"))
    given = [network.architecture, place, "run"] if place.startswith("--") else [place]
    result = run("maps", given[0], "red.png", *given[1:], "--out", "here")
    assert result.exit_code == 0, result.stderr
    listed = [f"here/red-{name}.{kind}" for name in ("maps", "tokens") for kind in ("svg", "csv")]
    assert result.stdout.split() == listed
    (maps, _) = asvit.attention_maps(model.eval(), ["red.png"], image_size=64)
    assert maps.csv == Path("here/red-maps.csv").read_text()
    assert 'stages.0.cells.0.second.attn,"head 2, shared"' in maps.csv
    assert 'tokens × channels after each stage,"stage 2, 8 × 16"' in Path(listed[3]).read_text()


def test_modules_of_other_images_are_refused() -> None:
    grey = Network("psvit2d:b-----|b-----|b-----|12", 64, 3, 1).build()
    with pytest.raises(ValueError, match=r"PSViT takes 1 channel\(s\), and a module does not say"):
        asvit.attention_maps(grey, ["red.png"], image_size=64)


def test_pictures_of_the_same_name_are_numbered() -> None:
    Path("more").mkdir()
    Image.new("RGB", (32, 32)).save("more/red.png")
    found = asvit.attention_maps(DEIT, ["red.png", "more/red.png"], image_size=32)
    assert [one.name for one in found] == ["0-red-maps", "1-red-maps"]


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--layer", "2"], 3, "no attention layer '2'; use 0 to 1 or a module's name, such as"),
        (["--layer", "block"], 3, "no attention layer 'block'"),
        (["--query", "2,0"], 3, "no token (2, 0); use rows and columns from 0 to 1"),
        (["--query", "2"], 2, "'2' is not ROW,COLUMN, such as 3,4"),
        (["--weights", "nowhere"], 3, "nowhere"),
    ],
)
def test_what_does_not_exist_is_one_line(options: list[str], code: int, words: str) -> None:
    result = run("maps", DEIT, "red.png", "--image-size", "32", *options)
    check_refused(result, code, words)
    assert not Path("maps").exists()


def test_networks_without_attention_and_missing_pictures_are_refused() -> None:
    result = run("maps", "shift:1,1,1,1|1|8|1|16", "red.png", "--image-size", "32")
    check_refused(result, 3, "ShiftViT has no attention maps")
    check_refused(run("maps", DEIT, "no.png", "--image-size", "32"), 3, "no picture 'no.png'")


@pytest.mark.parametrize(("layer", "name"), [(0, "blocks.0.attn"), ("blocks.1", "blocks.1.attn")])
def test_one_layer_needs_no_list(layer: str | int, name: str) -> None:
    (picture,) = asvit.attention_maps(DEIT, "red.png", layers=layer, image_size=32)
    assert {row.layer for row in picture.data[0]} == {name}


def test_layers_by_the_name_of_a_module() -> None:
    (found,) = asvit.attention_maps(DEIT, ["red.png"], layers=["blocks.1", 0], image_size=32)
    names = [row.layer for row in found.data[0]]
    assert list(dict.fromkeys(names)) == ["blocks.1.attn", "blocks.0.attn"]
