"""Run folders: read before anything in them is touched, then claimed by one process.

A folder belongs to the kind of run that first claimed it, which :data:`MARKER` has. Another kind
of run refuses it, and ``--fresh`` removes only files that this kind lists as its own.
"""

import hashlib
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from filelock import FileLock, Timeout

from asvit.core.continuing import ELSEWHERE
from asvit.core.files import write_text
from asvit.core.results import RUNS, article, kind_in
from asvit.core.run_files import MARKER, RECORDS, REPORT, RESULT, RUNS_FOLDER, figure_files
from proxies.messages import first_line
from proxies.text import shown

LOCK = ".lock"

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


@dataclass(frozen=True)
class RunFiles:
    """The files that a kind of run calls its own."""

    kind: str  # what the folder, the records and ``result.json`` say that they are of
    noun: str  # the kind in a sentence: ``"scaling"``
    outputs: tuple[str, ...] = ()  # beside the result and the report; no wildcards
    figures: tuple[str, ...] = ()  # names of figures, whose files are outputs, too

    @property
    def names(self) -> tuple[str, ...]:
        """All, in the order in which they are removed: the records, which tell of them, last."""
        return (RESULT, REPORT, *self.outputs, *figure_files(self.figures), RECORDS)


def known_files() -> tuple[RunFiles, ...]:
    """The files of every kind of run, those that extensions register among them."""
    return tuple(kind.files for kind in RUNS.values())


def remove_files(folder: Path, names: Sequence[str]) -> None:
    """Remove the files called ``names`` from ``folder``, in this order; others stay."""
    for name in names:
        (folder / name).unlink(missing_ok=True)


def check_folder(folder: Path, files: RunFiles, *, fresh: bool) -> None:
    """Check that a run may use ``folder``, without making or changing anything.

    Raises:
        OSError: If something other than a folder is in the way, or it may not be written to.
        ValueError: If it holds another kind of run, or files of these names that no run of this
            kind is known to have written.
    """
    present = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not present.is_dir():
        what = "a file" if present.exists() else "a link to nothing"
        raise NotADirectoryError(f"{present} is {what}, not a folder; give --out another folder")
    if not os.access(present, os.W_OK | os.X_OK):
        raise PermissionError(f"{present} may not be written to; give --out a folder that may be")
    kind = kind_in(folder)
    if kind is None:
        _check_free(folder, files)
    elif kind != files.kind:
        nouns = {one.kind: article(one.noun) for one in known_files()}
        raise ValueError(
            f"{folder} holds {nouns.get(kind, f'a run of another kind, {shown(kind)}')}; give "
            f"--out another folder for the {files.noun}"
        )
    elif not fresh and not os.path.lexists(folder / RECORDS):
        for name in files.names:
            if os.path.lexists(folder / name):
                raise ValueError(
                    f"run folder {folder} has {name} but not {RECORDS}; put it back, {ELSEWHERE}"
                )


def _check_free(folder: Path, files: RunFiles) -> None:
    """Check that a folder without a run has no files of any run's names, and no pictures.

    They may be somebody's only copy. Pictures that are a run's own do not count.
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
    from asvit.data.decoding import ENDINGS  # imports torch
    from asvit.data.folders import is_part

    parts = [path for path in folder.iterdir() if is_part(path.name)]
    of_parts = chain.from_iterable(part.glob("*/*") for part in parts)
    for path in chain(folder.glob("*"), folder.glob("*/*"), of_parts):
        if path.suffix.lower() in ENDINGS and not (path.parent / MARKER).exists():
            raise ValueError(
                f"{folder} is a folder of pictures, such as {path}; give --out another folder for "
                f"the {files.noun}"
            )


@contextmanager
def claimed(folder: Path, files: RunFiles, *, fresh: bool = False) -> Iterator[None]:
    """Make ``folder``, and keep other processes from running in it.

    The claim ends with the process, however that ends. A folder that was made for it goes again
    if what is done under the claim fails before it has records. With ``fresh`` the folder may hold
    what is left of a run whose files were being removed when it was killed.

    Raises:
        ValueError: If another process is running in it, or as :func:`check_folder`.
        OSError: If it cannot be made or written to, or its file system has no locks.
    """
    try:
        check_folder(folder, files, fresh=fresh)
    except ValueError:
        if not (folder / LOCK).exists():  # else another process may be writing: look under it
            raise
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder, files)
    try:
        check_folder(folder, files, fresh=fresh)  # another process may have come in meanwhile
        if not (folder / MARKER).exists():
            write_text(folder / MARKER, f"{files.kind}\n")
        try:
            yield
        except BaseException:
            if made and not (folder / RECORDS).exists():
                remove_files(folder, [MARKER, LOCK])
                with suppress(OSError):  # something else has come in meanwhile
                    for path in made:
                        path.rmdir()
            raise
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
        check_folder(folder, files, fresh=True)  # of another kind, if that is what it is
        advice = "wait for it, stop it, or give --out another folder"
        if hasattr(lock, "pid"):  # a file system without flock, where a kill leaves the file
            advice += f"; if none is running, remove {folder / LOCK}"
        raise ValueError(f"another {files.noun} is running in {folder}; {advice}") from None
    except (NotImplementedError, OSError) as error:
        raise OSError(
            f"{folder} cannot be locked ({first_line(error)}); give --out another folder, maybe "
            "on another file system"
        ) from error
    return lock


def newest_run(kind: str = "search", root: Path | str = RUNS_FOLDER) -> Path:
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
