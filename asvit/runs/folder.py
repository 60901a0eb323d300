"""Run folders: read before anything in them is touched, then claimed by one process.

A folder belongs to the kind of run that first claimed it, which :data:`MARKER` has. Another kind
of run refuses it, and ``--fresh`` removes only files that this kind lists as its own.
"""

import errno
import hashlib
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from filelock import FileLock, Timeout

from asvit.core.continuing import ELSEWHERE
from asvit.core.files import sync_folder, write_text
from asvit.core.results import RUNS, article, kind_in
from asvit.core.run_files import (
    MARKER,
    RECORDS,
    REPORT,
    RESULT,
    RUNS_FOLDER,
    figure_files,
)
from proxies.messages import first_line
from proxies.text import shown

LOCK = ".lock"

#: What file systems without locks answer, unless a file can be the lock.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)
_LONGEST = 120  # characters of a folder's name; file systems take 255 bytes


def named_folder(name: str) -> Path:
    """The folder in ``runs`` for a name made of settings, whatever they hold."""
    return Path(RUNS_FOLDER) / plain_name(name)


def plain_name(name: str) -> str:
    """``name`` without characters that mean anything to a shell or a file system.

    A long name is cut, and ends in the beginning of its digest. One that is no letter, such as
    ``..``, still leads elsewhere: put words of one's own before it.
    """
    plain = re.sub("[^A-Za-z0-9_.-]+", "-", name)
    if len(plain) > _LONGEST:
        digest = hashlib.sha256(name.encode(errors="backslashreplace")).hexdigest()
        plain = f"{plain[:_LONGEST]}-{digest[:8]}"
    return plain


def check_writable(folder: Path) -> None:
    """Check that ``folder`` is, or can become, a folder to write in, without making anything."""
    present = folder
    while not os.path.lexists(present) and present != present.parent:
        present = present.parent
    if not present.is_dir():
        kind = "a file" if present.exists() else "a link to nothing"
        raise NotADirectoryError(f"{present} is {kind}, not a folder; give --out another folder")
    if not os.access(present, os.W_OK | os.X_OK):
        raise PermissionError(f"{present} may not be written to; give --out a folder that may be")


@dataclass(frozen=True)
class RunFiles:
    """The files that a kind of run calls its own."""

    kind: str  # what the folder, the state and ``result.json`` say that they are of
    noun: str  # the kind in a sentence: ``"scaling"``
    outputs: tuple[str, ...] = ()  # beside the result and the report; no wildcards
    state: str = RECORDS  # file without which the others mean nothing
    figures: tuple[str, ...] = ()  # names of figures, whose files are added to the outputs

    def __post_init__(self) -> None:
        object.__setattr__(self, "outputs", (*self.outputs, *figure_files(self.figures)))

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, in the order in which they are removed: the state last."""
        return (RESULT, REPORT, *self.outputs, self.state)


def known_files() -> tuple[RunFiles, ...]:
    """The files of every kind of run, those that extensions register among them."""
    return tuple(kind.files for kind in RUNS.values())


def check_folder(folder: Path, files: RunFiles, *, fresh: bool) -> None:
    """Check that a run may use ``folder``, without making or changing anything.

    Raises:
        OSError: If something other than a folder is in the way, or it may not be written to.
        ValueError: If it holds another kind of run, or files of these names that no run of this
            kind is known to have written.
    """
    check_writable(folder)
    if _own_kind(folder, files) is None:
        _check_free(folder, files)
        return
    if fresh or has_state(folder, files):
        return
    for name in files.names:
        if os.path.lexists(folder / name):
            raise ValueError(
                f"run folder {folder} has {name} but not {files.state}; put it back, {ELSEWHERE}"
            )


def has_state(folder: Path, files: RunFiles) -> bool:
    """Whether there is what a stopped run goes on from."""
    return os.path.lexists(folder / files.state)


def seems_usable(folder: Path, files: RunFiles, *, fresh: bool) -> bool:
    """Whether :func:`check_folder` finds nothing wrong, looking without the folder's lock.

    A run that another process is writing may be seen half done, so what is wrong in a folder with
    a lock has to be looked at again under it.

    Raises:
        OSError: As :func:`check_folder`.
        ValueError: As :func:`check_folder`, if there is no lock.
    """
    try:
        check_folder(folder, files, fresh=fresh)
    except ValueError:
        if not (folder / LOCK).exists():
            raise
        return False
    return True


def _own_kind(folder: Path, files: RunFiles) -> str | None:
    """As :func:`kind_in`, where it is that of ``files``."""
    kind = kind_in(folder)
    if kind not in (None, files.kind):
        raise ValueError(
            f"{folder} holds {kind_noun(kind)}; give --out another folder for the {files.noun}"
        )
    return kind


def _check_free(folder: Path, files: RunFiles) -> None:
    """Check that a folder without a run has no files of any run's names, and no pictures.

    They may be somebody's only copy.
    """
    if not folder.is_dir() or all(path.name == LOCK for path in folder.iterdir()):
        return
    for writer in (files, *known_files()):
        for name in writer.names:
            if os.path.lexists(folder / name):
                raise ValueError(
                    f"{folder} has {name}, a file of {article(writer.noun)}, but not {MARKER}, "
                    f"which tells whose run it is; copy the whole run folder, or give --out "
                    f"another folder for the {files.noun}"
                )
    if (picture := _picture_in(folder)) is not None:
        raise ValueError(
            f"{folder} is a folder of pictures, such as {picture}; give --out another folder for "
            f"the {files.noun}"
        )


def _picture_in(folder: Path) -> Path | None:
    """A picture in ``folder`` or a folder inside it, or in a class of its parts.

    Those beside a run do not count.
    """
    if not folder.is_dir():
        return None
    from asvit.data.decoding import ENDINGS  # imports torch
    from asvit.data.folders import is_part

    inside = _folders_in(folder)
    of_parts = (_folders_in(path) for path in inside if is_part(path.name))
    places = (p for p in (folder, *inside, *chain(*of_parts)) if not (p / MARKER).exists())
    paths = (path for place in places for path in place.iterdir())
    return next((path for path in paths if path.suffix.lower() in ENDINGS), None)


def _folders_in(folder: Path) -> Sequence[Path]:
    """The folders inside one that may be read."""
    inside = sorted(folder.iterdir())
    return [path for path in inside if path.is_dir() and os.access(path, os.R_OK)]


def kind_noun(kind: str) -> str:
    """What a run of a kind is in a sentence: ``"a training"``."""
    nouns = {files.kind: files.noun for files in known_files()}
    return article(nouns[kind]) if kind in nouns else f"a run of another kind, {shown(kind)}"


@contextmanager
def claimed(
    folder: Path,
    files: RunFiles,
    *,
    fresh: bool = False,
) -> Iterator[None]:
    """Make ``folder``, and keep other processes from running in it.

    The claim ends with the process, however that ends. With ``fresh`` the folder may hold what is
    left of a run whose files were being removed when it was killed.

    Raises:
        ValueError: If another process is running in it, or as :func:`check_folder`.
        OSError: If it cannot be made or written to, or its file system has no locks.
    """
    seems_usable(folder, files, fresh=fresh)
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in new:
        sync_folder(path.parent)
    lock = _lock(folder, files)
    try:
        # Even if it was checked before: another process may have made it a run folder meanwhile.
        check_folder(folder, files, fresh=fresh)
        if not (folder / MARKER).exists():
            write_text(folder / MARKER, f"{files.kind}\n")
        if fresh:
            _check_inside(folder, files.names)
        yield
    finally:
        lock.release()


def _lock(folder: Path, files: RunFiles) -> FileLock:
    """Lock a folder; refuses one that another process has, or whose file system has no locks."""
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "flock not supported")
            lock.acquire()
    except Timeout:
        _own_kind(folder, files)
        message = f"another {files.noun} is running in {folder}"
        advice = "wait for it, stop it, or give --out another folder"
        if hasattr(lock, "pid"):  # without flock: a file with the holder's, left behind by a kill
            message = f"{folder / LOCK} says that {message}"
            advice += "; if none is running, remove that file"
        raise ValueError(f"{message}; {advice}") from None
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
            raise
        raise OSError(
            f"{folder} is on a file system without locks ({first_line(error)}); give --out a "
            "folder on another one"
        ) from error
    return lock


def _check_inside(folder: Path, names: Sequence[str]) -> None:
    """Check that the files called ``names`` are in ``folder``, not in one that a link leads to."""
    for inner in dict.fromkeys(Path(name).parent for name in names):
        if inner.parts and (folder / inner).is_symlink():
            raise ValueError(
                f"{folder / inner} is a link to a folder elsewhere, where --fresh would remove "
                "files; remove the link, or give --out another folder"
            )


def remove_files(folder: Path, names: Sequence[str]) -> None:
    """Remove the files called ``names`` from ``folder``, in this order; others stay."""
    for name in names:
        (folder / name).unlink(missing_ok=True)


def newest_run(kind: str = "search", root: Path | str = "runs") -> Path:
    """The folder in ``root`` whose finished run of this kind was written last.

    Raises:
        FileNotFoundError: If there is none.
    """
    finished = [path for path in Path(root).glob(f"*/{RESULT}") if kind_in(path.parent) == kind]
    if not finished:
        commands = {run.files.kind: name for name, run in RUNS.items()}
        raise FileNotFoundError(
            f"no finished {kind} in {root}; run asvit {commands.get(kind, kind)} first, or name "
            "the run's folder"
        )
    return max(finished, key=lambda path: path.stat().st_mtime_ns).parent
