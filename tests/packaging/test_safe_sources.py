"""Our code never runs what it reads, starts a shell, or uses the network unasked."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("asvit", "experiments", "proxies", "scaling")

#: Calls that run what they are given. ``pickle`` itself may be imported for its exceptions.
FORBIDDEN = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "yaml.load"),
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.loads", "shelve.open"),
    *("joblib.load", "dill.load", "dill.loads", "pandas.read_pickle", "pd.read_pickle"),
    *("yaml.unsafe_load", "torch.hub.load", "torch.jit.load", "os.execvp", "os.spawnvp"),
    # Names that another user can take first; archives whose names lead out of a folder.
    *("tempfile.mktemp", "shutil.unpack_archive"),
}


#: Runs the cells of our own notebooks, which is what it is for; it is not installed.
NOTEBOOKS = ROOT / "experiments" / "notebook_pages.py"


def sources() -> list[Path]:
    found = (path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py")))
    return [path for path in found if path != NOTEBOOKS]


def faults(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("pickle", "marshal", "shelve"):
            yield f"line {node.lineno}: from {node.module} import"
        if not isinstance(node, ast.Call):
            continue
        name, given = ast.unparse(node.func), {one.arg: one.value for one in node.keywords}
        if name in FORBIDDEN:
            yield f"line {node.lineno}: {name}"
        if name == "torch.load" and not _is(given.get("weights_only"), True):
            yield f"line {node.lineno}: torch.load without weights_only=True"
        if name.endswith(("np.load", "numpy.load")) and not _is(given.get("allow_pickle"), None):
            yield f"line {node.lineno}: {name} with allow_pickle"
        if name.endswith(".extractall"):
            yield f"line {node.lineno}: {name}"
        if name.endswith("Image.open") and "formats" not in given:
            yield f"line {node.lineno}: {name} without formats, some of which start programs"
        if not _is(given.get("trust_remote_code"), None):
            yield f"line {node.lineno}: {name} with trust_remote_code"
        if "shell" in given and not _is(given["shell"], False):
            yield f"line {node.lineno}: shell="


def test_one_function_knows_how_to_start_python() -> None:
    # It leaves the working directory out of the path.
    starting = [path for path in sources() if "sys.executable" in path.read_text()]
    assert starting == [ROOT / "asvit" / "core" / "processes.py"]


def _is(value: ast.expr | None, wanted: bool | None) -> bool:
    return value is None if wanted is None else getattr(value, "value", None) is wanted


def test_nothing_that_is_read_is_run() -> None:
    lines = {path: [*faults(ast.parse(path.read_text(encoding="utf-8")))] for path in sources()}
    assert {path: some for path, some in lines.items() if some} == {}


@pytest.mark.parametrize(
    "code",
    [
        *("torch.load(path)", "torch.load(path, weights_only=False)", "pickle.loads(data)"),
        *("eval(text)", "exec(text)", "subprocess.run(line, shell=True)", "yaml.load(text)"),
        *("from pickle import loads", "np.load(path, allow_pickle=True)", "os.system(line)"),
        *("torch.hub.load(name)", "archive.extractall(folder)", "Image.open(path)"),
        "load_dataset(name, trust_remote_code=True)",
    ],
)
def test_the_rule_finds(code: str) -> None:
    assert len(list(faults(ast.parse(code)))) == 1


#: Anything that opens a connection or asks for an address ends the program.
OFFLINE = """
import os, socket, sys

def refuse(*_given, **_named):
    os.write(2, b"went to the network")
    os._exit(9)  # nobody can catch it

socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = refuse
socket.create_connection = socket.getaddrinfo = socket.gethostbyname = refuse
"""
COMMANDS = """
from click.testing import CliRunner
from asvit.cli.app import app
for code, line in zip("000033", sys.argv[1:], strict=True):
    done = CliRunner().invoke(app, line.split())
    assert done.exit_code == int(code), (line, done.output)
"""
ASKS = "socket.create_connection(('a.b', 80))"
SEED = "4,2,2|2,1,2|2,1,2|2,1,2|16"
SCORE = f"score {SEED} --image-size 32 --repeats 1 --images 2"


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", code, *arguments]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_no_network_unasked() -> None:
    listed = (f"cost {SEED}", "cost timm:resnet18", "list models", SCORE)
    sources = ("hf:nobody/nothing", "torchvision:CIFAR10")
    done = python(OFFLINE + COMMANDS, *listed, *(f"{SCORE} --data {name}" for name in sources))
    assert done.returncode == 0, done.stderr
    assert "went to the network" in python(OFFLINE + ASKS).stderr
