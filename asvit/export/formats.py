"""Export formats: their names, files and requirements."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

from asvit.core.files import check_target
from asvit.core.versions import missing
from proxies.registry import Registry

# Files of a folder for timm; the names are timm's.
CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
README: Final = "README.md"
FOLDER_FILES: Final = (CONFIG, WEIGHTS, README)

_FILE_OF_WEIGHTS: Final = ".safetensors"


@dataclass(frozen=True)
class Format:
    """An export format."""

    name: str  # value of ``--to``
    suffix: str  # suffix of its files; empty for a folder
    description: str  # one line about the format
    libraries: tuple[str, ...] = ()  # required libraries that are not dependencies of ours

    def card_path(self, out: Path) -> Path:
        """Path of the model card of a copy at ``out``."""
        return out.with_name(f"{out.name}.md") if self.suffix else out / README

    def remove_card(self, out: Path) -> None:
        """Remove the card of an earlier copy at ``out``; any other file of its name stays."""
        card = self.card_path(out)
        if card.is_file() and f"\n* format: {self.name}\n".encode() in card.read_bytes():
            card.unlink()

    def check_libraries(self) -> None:
        """Check that the required libraries are installed; an ImportError names a missing one."""
        for library in self.libraries:
            try:
                import_module(library)
            except ImportError as error:
                raise missing(f"the format {self.name}", library, "export") from error

    def check_out(self, out: Path, *, card: bool, force: bool) -> None:
        """Check that a copy, and a ``card``, can be written to ``out``; nothing is created."""
        if not self.suffix and out.suffix == _FILE_OF_WEIGHTS:
            raise ValueError(
                f"timm gets a folder, got {out.name!r}; for one file, which timm takes as "
                "checkpoint_path, use the format safetensors"
            )
        if out.suffix != self.suffix and self.suffix:
            raise ValueError(
                f"files for {self.name} end in {self.suffix}, got {out.name!r}; "
                f"name it {out.stem + self.suffix!r}"
            )
        if not self.suffix and out.is_dir():
            foreign = sorted({path.name for path in out.iterdir()} - set(FOLDER_FILES))
            if foreign:
                raise ValueError(
                    f"the folder {str(out)!r} holds {foreign[0]!r}, which is not part of a model "
                    "for timm; name another folder"
                )
        else:
            check_target(out)
        for path in (out, self.card_path(out)) if card else (out,):
            if path.exists() and not force:
                raise FileExistsError(f"{str(path)!r} exists; name another one or give --force")


def predict_script() -> bytes:
    """The program ``predict.py`` beside a copy that prepares pictures; it needs none of ours."""
    return Path(__file__).with_name("predict_script.py").read_bytes()


_ALL = (
    Format("timm", "", "a folder that timm.create_model loads as local-dir:FOLDER"),
    Format(
        "onnx",
        ".onnx",
        "an ONNX graph with its weights, for ONNX Runtime and others",
        libraries=("onnx", "onnxscript", "onnxruntime"),
    ),
    Format("pt2", ".pt2", "a torch.export program, which PyTorch runs without our code"),
    Format(
        "safetensors", _FILE_OF_WEIGHTS, "weights, and in the header what builds the network again"
    ),
)

#: The formats by name.
FORMATS: Registry[Format] = Registry("format", {form.name: form for form in _ALL})
