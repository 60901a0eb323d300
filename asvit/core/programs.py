"""Programs that a command line names: run without a shell, and for a limited time."""

import os
import shlex
import signal
import subprocess
from contextlib import suppress
from tempfile import TemporaryFile
from typing import IO, Final

from proxies.text import one_line, shown

#: Stands for a file in a command.
FILE: Final = "{onnx}"

#: Variable with which the program keeps Python processes of libraries from importing from the
#: working directory, and a value by which it is known not to be the user's.
SAFE_PATH: Final = ("PYTHONSAFEPATH", "asvit")

_MOST = 4_000  # bytes of an output that are kept


def file_command(command: str) -> str:
    """A command that is run on a file, checked; it names the file as ``{onnx}``.

    Raises:
        ValueError: If it names no program or no file, or a quotation mark has no other.
    """
    example = f"use e.g. 'ssh pi ./bench {FILE}'"
    if not isinstance(command, str):
        raise ValueError(f"a command must be a text, got {shown(command)}; {example}")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ValueError(f"{shown(command)} is no command: {error}; {example}") from error
    if not any(FILE in word for word in words[1:]):
        raise ValueError(f"{shown(command)} does not name the file as {FILE}; {example}")
    return command


def output_of(command: str, file: str, seconds: float) -> str:
    """What a command prints on stdout for a file.

    The words of the command are those of a POSIX shell, but none is run: the file's name cannot
    become words or programs. The program has no input, and the user's environment. It is stopped,
    with what it has started, when time is up or on an interrupt.

    Raises:
        FileNotFoundError: If there is no such program.
        PermissionError: If it may not be run.
        TimeoutError: If it takes longer than ``seconds``.
        ChildProcessError: If it ends with another exit code than 0, or prints too much.
    """
    words = [word.replace(FILE, file) for word in shlex.split(command)]
    # Else a program in Python would not find a module beside it, as it does when started by hand.
    environment = dict(item for item in os.environ.items() if item != SAFE_PATH)
    # Into files: nobody has to read them, and a child that keeps one open holds nothing up.
    with TemporaryFile() as out, TemporaryFile() as complaints:
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=complaints,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            why = error.strerror or "it cannot be started"
            raise type(error)(
                f"{shown(command)} cannot be run: {why}: {shown(words[0])}"
            ) from error
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            stopped = f"{shown(command)} has not ended after {seconds:g} s; it was stopped"
            raise TimeoutError(f"{stopped}{_last_line(complaints)}") from error
        finally:
            _stop(process)
        if code:
            how = f"exit code {code}" if code > 0 else f"signal {-code}"
            why = _last_line(complaints, out)
            raise ChildProcessError(f"{shown(command)} ended with {how}{why}")
        out.seek(0)
        printed = out.read(_MOST + 1).decode(errors="replace")
    if len(printed) > _MOST:
        raise ChildProcessError(f"{shown(command)} printed more than {_MOST:,} characters")
    return printed


def _last_line(*outputs: IO[bytes]) -> str:
    """The last line of the first output that has any, to end a message with; or nothing."""
    for output in outputs:
        output.seek(0)
        if lines := output.read(_MOST).decode(errors="replace").strip().splitlines():
            return f": {one_line(lines[-1])}"
    return ""


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a program and of what it has started."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:  # Windows
            process.kill()
    process.wait()
