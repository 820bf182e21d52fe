"""Scalar functions over URLs, as RFC 3986 cuts them."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from headrace.sql.errors import RecordError
from headrace.sql.functions.registry import ScalarFunction, Signature, one
from headrace.sql.types import INT, VARCHAR

_URL = re.compile(
    r"(?:(?P<protocol>[^:/?#]+):)?(?://(?P<authority>[^/?#]*))?(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#(?P<ref>.*))?",
    re.DOTALL,
)
"""RFC 3986, appendix B. It matches every text."""
_AUTHORITY = re.compile(r"(?:(?P<userinfo>.*)@)?(?P<host>\[[^\]]*\]|[^:]*)(?::(?P<port>\d*))?", re.DOTALL)
_ESCAPES = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_KEPT = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-*_")
"""What application/x-www-form-urlencoded leaves as it is."""
_FORM = {byte: chr(byte) if byte in _KEPT else "+" if byte == ord(" ") else f"%{byte:02X}" for byte in range(256)}


def encode_form(text: str) -> str:
    return "".join([_FORM[byte] for byte in text.encode()])


def decode_form(text: str) -> str:
    if "%" in _ESCAPES.sub("", text):
        raise RecordError("domain", f"'{text}' has a % without two hexadecimal digits behind it")
    return _unescaped(text.replace("+", " "))


def _unescaped(text: str) -> str:
    """The text without its escapes; RecordError where they are not UTF-8."""
    try:
        return _ESCAPES.sub(lambda found: bytes.fromhex(found[0].replace("%", "")).decode(), text)
    except UnicodeDecodeError:
        raise RecordError("domain", f"the escapes of '{text}' are not UTF-8") from None


def raw_part(url: str, name: str) -> str | None:
    """A part of the URL as it is written; None where it has none."""
    found = _URL.fullmatch(url)
    assert found is not None, "the pattern matches every text"
    if name in ("userinfo", "host", "port"):
        authority = _AUTHORITY.fullmatch(found["authority"] or "")
        return (authority[name] or None) if authority is not None else None
    if name == "file":
        return found["path"] + (f"?{found['query']}" if found["query"] is not None else "")
    part: str | None = found[name]
    return part


def url_protocol(url: str) -> str | None:
    return raw_part(url, "protocol")


def url_host(url: str) -> str | None:
    return raw_part(url, "host")


def url_port(url: str) -> int | None:
    port = raw_part(url, "port")
    return int(port) if port is not None and len(port) <= 5 else None


def url_path(url: str) -> str | None:
    return _unescaped(raw_part(url, "path") or "")


def url_query(url: str) -> str | None:
    query = raw_part(url, "query")
    return None if query is None else _unescaped(query)


def url_fragment(url: str) -> str | None:
    fragment = raw_part(url, "ref")
    return None if fragment is None else _unescaped(fragment)


def url_parameter(url: str, name: str) -> str | None:
    """The first value of a parameter, decoded; an empty text where it has none."""
    for parameter in (raw_part(url, "query") or "").split("&"):
        key, _, value = parameter.partition("=")
        if key and decode_form(key) == name:
            return decode_form(value)
    return None


_PARTS = ("PROTOCOL", "AUTHORITY", "USERINFO", "HOST", "PORT", "PATH", "FILE", "QUERY", "REF")


@lru_cache(maxsize=100)
def part_named(name: str) -> str:
    if name.upper() not in _PARTS:
        raise RecordError("domain", f"'{name}' is no part of a URL: {', '.join(_PARTS)} are")
    return name.lower()


def raw_parameter(url: str, part: str, name: str) -> str | None:
    if part != "query":
        raise RecordError("domain", "only QUERY has parameters")
    for parameter in (raw_part(url, "query") or "").split("&"):
        key, equals, value = parameter.partition("=")
        if key == name and equals:
            return value
    return None


def _extracting(
    part: str, function: Callable[[str], str | int | None], doc: str, *examples: tuple[str, str]
) -> ScalarFunction:
    """ksqlDB's function for a part of a URL, decoded."""
    returns = INT if function is url_port else VARCHAR
    signature = Signature((VARCHAR,), returns, f"{function.__name__}({{0}})", (function,), may_be_null=True, fails=True)
    return one(f"URL_EXTRACT_{part}", signature, doc, *examples)


FUNCTIONS: tuple[ScalarFunction, ...] = (
    _extracting(
        "PROTOCOL",
        url_protocol,
        "The protocol of a URL; NULL where it has none.",
        ("URL_EXTRACT_PROTOCOL('http://test.com/a')", "'http'"),
    ),
    _extracting(
        "HOST",
        url_host,
        "The host of a URL; NULL where it has none.",
        ("URL_EXTRACT_HOST('http://test.com:8080/path')", "'test.com'"),
    ),
    _extracting(
        "PORT",
        url_port,
        "The port of a URL; NULL where it names none.",
        ("URL_EXTRACT_PORT('http://test.com:8080/path')", "8080"),
        ("URL_EXTRACT_PORT('http://test.com/path')", "CAST(NULL AS INT)"),
    ),
    _extracting(
        "PATH",
        url_path,
        "The path of a URL, decoded; perhaps empty.",
        ("URL_EXTRACT_PATH('http://test.com/path/to%20a?b=c')", "'/path/to a'"),
    ),
    _extracting(
        "QUERY",
        url_query,
        "The query of a URL, decoded; NULL where it has none.",
        ("URL_EXTRACT_QUERY('http://test.com?a=foo%20bar&b=baz')", "'a=foo bar&b=baz'"),
    ),
    _extracting(
        "FRAGMENT",
        url_fragment,
        "What is behind the # of a URL, decoded; NULL where there is none.",
        ("URL_EXTRACT_FRAGMENT('http://test.com#frag%20space')", "'frag space'"),
    ),
    one(
        "URL_EXTRACT_PARAMETER",
        Signature((VARCHAR, VARCHAR), VARCHAR, "url_parameter({*})", (url_parameter,), may_be_null=True, fails=True),
        "The value of a parameter in the query of a URL, decoded; NULL where it is not there.",
        ("URL_EXTRACT_PARAMETER('http://test.com?a%20b=c%20d', 'a b')", "'c d'"),
    ),
    ScalarFunction(
        "PARSE_URL",
        (),
        (
            Signature(
                (VARCHAR, VARCHAR),
                VARCHAR,
                "raw_part({0}, {1})",
                (raw_part,),
                may_be_null=True,
                prepared=(1, part_named),
            ),
            Signature(
                (VARCHAR, VARCHAR, VARCHAR),
                VARCHAR,
                "raw_parameter({0}, {1}, {2})",
                (raw_parameter,),
                may_be_null=True,
                fails=True,
                prepared=(1, part_named),
            ),
        ),
        "A part of a URL as it is written: `'PROTOCOL'`, `'AUTHORITY'`, `'USERINFO'`, `'HOST'`, `'PORT'`, `'PATH'`, "
        "`'FILE'` (path and query), `'QUERY'` or `'REF'`; of the query also the value of one parameter. NULL "
        "where there is none.",
        (
            ("PARSE_URL('http://test.com/p.php?k1=v1&k2=v%202#r', 'FILE')", "'/p.php?k1=v1&k2=v%202'"),
            ("PARSE_URL('http://test.com/p.php?k1=v1&k2=v%202#r', 'QUERY', 'k2')", "'v%202'"),
        ),
    ),
    one(
        "URL_ENCODE",
        Signature((VARCHAR,), VARCHAR, "encode_form({0})", (encode_form,)),
        "The text as it can stand in the query of a URL (application/x-www-form-urlencoded).",
        ("URL_ENCODE('url encoded&more')", "'url+encoded%26more'"),
        aliases=("URL_ENCODE_PARAM",),
    ),
    one(
        "URL_DECODE",
        Signature((VARCHAR,), VARCHAR, "decode_form({0})", (decode_form,), fails=True),
        "The text that URL_ENCODE has encoded.",
        ("URL_DECODE('url%20encoded+text')", "'url encoded text'"),
        aliases=("URL_DECODE_PARAM",),
    ),
)
