"""Tar archives of the pictures of a folder, as WebDataset has them."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

Files = Iterable[tuple[str, bytes]]


def archive(path: Path, files: Files) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def samples(folder: Path, *, names: bool = False) -> list[tuple[str, bytes]]:
    """A folder of classes as the files of an archive, class by class, by number or by name."""
    files = []
    for place, label in enumerate(sorted(p for p in folder.iterdir())):
        for path in sorted(label.iterdir()):
            key = f"{label.name}_{path.stem}"
            label_file = ("txt", label.name) if names else ("cls", str(place))
            files.append((f"{key}{path.suffix}", path.read_bytes()))
            files.append((f"{key}.{label_file[0]}", label_file[1].encode()))
    return files


def shards(folder: Path, files: list[tuple[str, bytes]], count: int = 2) -> str:
    """Archives with so many parts of the files; the pattern that names them."""
    each = -(-len(files) // 2 // count) * 2
    for number in range(count):
        part = files[number * each : (number + 1) * each]
        archive(folder / f"part-{number:03d}.tar", part)
    return f"{folder}/part-{{000..{count - 1:03d}}}.tar"
