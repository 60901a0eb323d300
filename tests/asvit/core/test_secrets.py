"""Passwords in the addresses of databases, in every form in which one may stand there."""

import logging
import re
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote, quote_plus

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from asvit.cli import app as app_module
from asvit.cli.app import app
from asvit.cli.options import Session
from asvit.cli.run_command import again
from asvit.core.secrets import censored, has_password, public_url
from asvit.executors import Work, Workers, open_pool
from asvit.search.study import open_url
from tests.hostile import FEW

SECRET = "p@s/s:w&0=r d%?#"
Q, P = quote(SECRET, safe=""), quote_plus(SECRET)
FORMS = {
    "user": f"postgresql+psycopg://me:{Q}@host:5432/db",
    "user without host": f"postgresql://me:{Q}@/db?host=/tmp",
    "query": f"postgresql://me@host/db?password={P}",
    "two queries": f"postgresql://host/db?sslmode=require&password={P}&user=me",
    "twice": f"postgresql://host/db?password={P}&password={P}",
    "percent-encoded name": f"postgresql://host/db?pass%77ord={P}",
    "key": f"postgresql://me@host/db?sslkey=/k&sslpassword={P}",
    "client secret": f"postgresql://me@host/db?oauth_client_secret={P}",
    "options": f"postgresql://host/db?options=-c%20my.token%3D{P}",
    "conninfo": f"postgresql+psycopg://host/?conninfo={quote_plus('password=')}{P}",
    "name of the database": f"postgresql://host/{quote('password=')}{Q}",
    "mysql": f"mysql+pymysql://me@host/db?passwd={P}&charset=utf8",
    "odbc": f"mssql+pyodbc://?odbc_connect={quote_plus('PWD=')}{P}",
    "redis": f"redis://:{Q}@host:6379/0",
    "sqlcipher": f"sqlite+pysqlcipher://:{Q}@//file.db",
    "not encoded": "postgresql://me:s3c@r3t@host/db",
    "not encoded, a slash": "postgresql://me:x@s3c/r3t@host/db",
    "not encoded, a colon": "postgresql://me:s3c@r3t:x@host/db",
    "no port": "postgresql://me:s3cr3t@host:port/db",
    "one slash": "postgresql:/me:s3cr3t@host/db",
    "conninfo alone": "host=h password=s3cr3t",
}
PARTS = (SECRET, Q, P, "s3c", "r3t")


def leaks(text: str) -> list[str]:
    return [part for part in PARTS if part in text]


@pytest.mark.parametrize("url", FORMS.values(), ids=FORMS)
def test_no_form_is_told(url: str) -> None:
    assert not leaks(public_url(url))
    assert "***" in public_url(url)
    with pytest.raises(ValueError, match="cannot open the storage") as caught:
        open_url(url.replace("://", "+none://", 1))
    assert not leaks(str(caught.value))
    for words in (("search", "--storage", url), ("search", f"--storage={url}")):
        assert not leaks(again(click.Context(app, obj=Session(words)), None))
        plain = "".join(re.findall("s3c.*?r3t", url))
        quoted = plain or f"{SECRET} {Q} {P}"
        assert not leaks(censored(f"cannot parse {url!r}: {quoted}", words))


@given(st.text(min_size=3).filter(lambda text: "***" not in text))
@FEW
def test_any_password_is_hidden(secret: str) -> None:
    told = public_url("postgresql://me@host/db")
    for url in (
        f"postgresql://me:{quote(secret, safe='')}@host/db",
        f"postgresql://me@host/db?password={quote_plus(secret)}",
    ):
        assert public_url(url).replace(":***", "").removesuffix("?password=***") == told


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///a=b.db",
        "postgresql+psycopg://me@host:5432/db",
        "postgresql://me@host/db?service=asvit&passfile=pw.txt&sslmode=require",
    ],
)
def test_what_is_no_secret_is_told(url: str) -> None:
    assert public_url(url) == url
    assert not has_password(["search", "--storage", url])


@pytest.mark.parametrize("words", [["--storage", FORMS["user"]], [f"--storage={FORMS['query']}"]])
def test_a_password_on_the_command_line_is_warned_of(words: list[str], tmp_path: Path) -> None:
    line = ["search", "--space", "asvit-tiny", *words, "--out", str(tmp_path / "run")]
    for debug in ([], ["--debug"]):
        done = CliRunner().invoke(app, [*line, *debug])
        assert done.exit_code in (2, 3)
        assert "put it into PGPASSWORD, ~/.pgpass or a service file" in done.stderr
        assert not leaks(done.output)


def test_logs_and_tracebacks_are_censored(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(**_: object) -> None:
        logging.getLogger("asvit.x").warning("lost %s", FORMS["user"])
        raise ValueError(f"no {SECRET}") from TypeError(FORMS["user"])

    command = click.Command("cost", callback=act, params=[click.Option(["--storage"])])
    monkeypatch.setattr(
        app_module, "import_module", lambda _name: SimpleNamespace(command=command)
    )
    done = CliRunner().invoke(app, ["cost", "--debug", "--storage", FORMS["user"]])
    assert done.exit_code == 3
    assert "lost postgresql+psycopg://me:***@host" in done.stderr
    assert not leaks(done.stderr)


def test_ray_is_not_told_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray's list of jobs has it, which all of a cluster can read."""
    ray = pytest.importorskip("ray", reason="ray is not installed")
    seen: list[str] = []

    def init(**_: object) -> None:
        seen.append(ray._private.utils.get_entrypoint_name())
        raise RuntimeError("enough")

    monkeypatch.setattr(ray, "init", init)
    with (
        pytest.raises(ConnectionError, match="enough"),
        open_pool(Workers(ray="auto"), Work("nothing:there", {}), "cpu"),
    ):
        pass
    assert seen == ["asvit"]
    assert ray._private.utils.get_entrypoint_name() != "asvit"
