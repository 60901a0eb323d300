"""Addresses of databases without the passwords in them, for messages and files."""

import re
from collections.abc import Iterable, Iterator
from functools import partial
from urllib.parse import quote, quote_plus, unquote, unquote_plus

HIDDEN = "***"

# Query parameters without secrets. Any other may be one, such as password, sslpassword, options
# or those of an unknown driver.
_HARMLESS = re.compile(
    "host|hostaddr|port|user|dbname|service|servicefile|passfile|sslmode|sslrootcert|sslcert|sslkey"
    "|connect_timeout|application_name|target_session_attrs|client_encoding|charset|unix_socket"
    "|read_default_file|ssl_ca|ssl_cert|ssl_key|timeout|cache|mode|uri|check_same_thread"
)
_ADDRESS = re.compile(r"[A-Za-z][\w+.-]*://.*", re.DOTALL)
_SHORTEST = 3  # characters of a secret that is replaced everywhere in a text


def public_url(url: str) -> str:
    """``url`` for messages and files: without passwords in any of its parts.

    An address that cannot be parsed, or whose password seems not to be percent-encoded, is cut
    to its scheme if it may hold a password.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: the port is no number
        return _scheme_only(url) if re.search("[@=?%]", url) else url
    database = unquote(f"{parsed.database}")  # SQLAlchemy 2.0 has left it encoded
    if "@" in f"{parsed.host}" or (parsed.host and re.search("[@=]", database)):
        return _scheme_only(url)
    query = {
        name: value if _HARMLESS.fullmatch(name) else HIDDEN
        for name, value in parsed.query.items()
    }
    if parsed.password is None and query == parsed.query:
        return url
    public = parsed.set(query=query).render_as_string(hide_password=True)
    return public.replace(quote_plus(HIDDEN), HIDDEN)


def public_words(words: Iterable[str]) -> list[str]:
    """The words of a command, without the passwords of the addresses among them."""
    public = list(words)
    for url in list(_addresses(public)):
        public = [word.replace(url, public_url(url)) for word in public]
    return public


def has_password(words: Iterable[str]) -> bool:
    """Whether an address among the words of a command seems to have a password in it."""
    return any(
        re.search(r"//[^/?]*:.*@|passw|secret", unquote(url)) and _secrets(url)
        for url in _addresses(words)
    )


def censored(text: str, words: Iterable[str]) -> str:
    """``text`` without the passwords of the addresses among ``words``.

    Libraries quote parts of an address, or decode it, so passwords alone are replaced, too.
    """
    for url in _addresses(words):
        text = text.replace(url, public_url(url))
        for secret in sorted(_secrets(url), key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
    return text


def _scheme_only(url: str) -> str:
    scheme = re.match(r"[A-Za-z][\w+.-]*://", url)
    return f"{scheme[0] if scheme else ''}{HIDDEN}"


def _addresses(words: Iterable[str]) -> Iterator[str]:
    """The addresses in words of a command, such as ``--storage=URL`` or the word after it.

    Any text after ``--storage`` counts: a driver may accept forms that we do not.
    """
    before = ""
    for word in words:
        if match := _ADDRESS.search(word):
            yield match[0]
        elif before == "--storage" or word.startswith("--storage="):
            yield word.removeprefix("--storage=")
        before = word


def _secrets(url: str) -> set[str]:
    """The secrets that :func:`public_url` hides in ``url``, in every encoding."""
    public = public_url(url)
    if HIDDEN not in public:
        return set()
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    values: list[str] = []
    if parsed is None or public == _scheme_only(url):
        values += re.split("[:/@?&= ]+", url.partition("://")[2] or url)
        values.append(url.partition("://")[2].rpartition("@")[0].partition(":")[2])
        values.append(unquote(url).partition("password=")[2])
    else:
        values += [parsed.password or ""]
        for name, value in parsed.query.items():
            if not _HARMLESS.fullmatch(name):
                values += [value] if isinstance(value, str) else value
    values += [value.partition("=")[2] for value in values]  # of options, or a connection string
    forms = (str, quote, quote_plus, unquote, unquote_plus, partial(quote, safe=""))
    return {form(value) for value in values for form in forms if len(value) >= _SHORTEST}
