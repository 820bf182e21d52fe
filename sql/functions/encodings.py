"""Scalar functions over encodings of texts and bytes, digests and identifiers."""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Callable
from functools import lru_cache

from headrace.sql.errors import RecordError
from headrace.sql.functions.registry import ScalarFunction, Signature, one
from headrace.sql.runtime import values
from headrace.sql.types import BYTES, VARCHAR


def bytes_of_hex(text: str) -> bytes:
    try:
        return binascii.unhexlify(text)
    except ValueError:
        raise RecordError("domain", f"'{text}' is not hexadecimal, two digits for each byte") from None


def hex_of_bytes(value: bytes) -> str:
    return value.hex().upper()


def bytes_of_base64(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise RecordError("domain", f"'{text}' is not base64") from None


def base64_of_bytes(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode()


def text_of_base64(text: str) -> str:
    return values.text_of_bytes(bytes_of_base64(text))


def bytes_of_ascii(text: str) -> bytes:
    try:
        return text.encode("ascii")
    except UnicodeEncodeError:
        raise RecordError("domain", f"'{text}' has characters that are not ASCII") from None


def ascii_of_bytes(value: bytes) -> str:
    try:
        return value.decode("ascii")
    except UnicodeDecodeError:
        raise RecordError("domain", "the bytes are not ASCII") from None


_ENCODINGS: dict[str, tuple[Callable[[str], bytes], Callable[[bytes], str]]] = {
    "hex": (bytes_of_hex, hex_of_bytes),
    "utf8": (str.encode, values.text_of_bytes),
    "ascii": (bytes_of_ascii, ascii_of_bytes),
    "base64": (bytes_of_base64, base64_of_bytes),
}


def _encoding(name: str) -> tuple[Callable[[str], bytes], Callable[[bytes], str]]:
    encoding = _ENCODINGS.get(name.lower().replace("-", ""))
    if encoding is None:
        raise RecordError("domain", f"'{name}' is no encoding: {', '.join(_ENCODINGS)} are")
    return encoding


@lru_cache(maxsize=100)
def decoder_of(encoding: str) -> Callable[[str], bytes]:
    return _encoding(encoding)[0]


@lru_cache(maxsize=100)
def encoder_of(encoding: str) -> Callable[[bytes], str]:
    return _encoding(encoding)[1]


def encode_anew(text: str, encoding: str, wanted: str) -> str:
    return encoder_of(wanted)(decoder_of(encoding)(text))


def hex_of_integer(value: int) -> str:
    """Of a negative number the 64 bits of its two's complement, as Flink and DuckDB."""
    return f"{value & 0xFFFF_FFFF_FFFF_FFFF:X}"


def md5(value: bytes) -> str:
    return hashlib.md5(value, usedforsecurity=False).hexdigest()


def sha1(value: bytes) -> str:
    return hashlib.sha1(value, usedforsecurity=False).hexdigest()


def sha224(value: bytes) -> str:
    return hashlib.sha224(value).hexdigest()


def sha256(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()


def sha384(value: bytes) -> str:
    return hashlib.sha384(value).hexdigest()


def sha512(value: bytes) -> str:
    return hashlib.sha512(value).hexdigest()


def _digest(function: Callable[[bytes], str], *examples: tuple[str, str]) -> ScalarFunction:
    """A digest of a text (in UTF-8) or of bytes."""
    name = function.__name__
    signatures = (
        Signature((VARCHAR,), VARCHAR, f"{name}({{0}}.encode())", (function,)),
        Signature((BYTES,), VARCHAR, f"{name}({{0}})", (function,)),
    )
    doc = f"The {name.upper().replace('SHA', 'SHA-')} digest of a text in UTF-8, or of bytes, in hexadecimal."
    return ScalarFunction(name.upper(), (), signatures, doc, examples)


FUNCTIONS: tuple[ScalarFunction, ...] = (
    one(
        "TO_BYTES",
        Signature((VARCHAR, VARCHAR), BYTES, "{1}({0})", fails=True, prepared=(1, decoder_of)),
        "The bytes that a text stands for in an encoding: `'hex'`, `'utf8'`, `'ascii'` or `'base64'`.",
        ("LENGTH(TO_BYTES('häuser', 'utf8'))", "7"),
        ("HEX(TO_BYTES('AQL/', 'base64'))", "'0102FF'"),
    ),
    one(
        "FROM_BYTES",
        Signature((BYTES, VARCHAR), VARCHAR, "{1}({0})", fails=True, prepared=(1, encoder_of)),
        "The text that stands for bytes in an encoding, as TO_BYTES has them.",
        ("FROM_BYTES(TO_BYTES('abc', 'utf8'), 'base64')", "'YWJj'"),
    ),
    one(
        "ENCODE",
        Signature((VARCHAR, VARCHAR, VARCHAR), VARCHAR, "encode_anew({*})", (encode_anew,), fails=True),
        "The text in another encoding: from the second operand to the third, as TO_BYTES has them.",
        ("ENCODE('616263', 'hex', 'utf8')", "'abc'"),
    ),
    ScalarFunction(
        "TO_BASE64",
        (),
        (
            Signature((VARCHAR,), VARCHAR, "base64_of_bytes({0}.encode())", (base64_of_bytes,)),
            Signature((BYTES,), VARCHAR, "base64_of_bytes({0})", (base64_of_bytes,)),
        ),
        "A text in UTF-8, or bytes, in base64.",
        (("TO_BASE64('abc')", "'YWJj'"),),
    ),
    one(
        "FROM_BASE64",
        Signature((VARCHAR,), VARCHAR, "text_of_base64({0})", (text_of_base64,), fails=True),
        "The text whose UTF-8 is in base64. For other bytes there is `TO_BYTES(…, 'base64')`.",
        ("FROM_BASE64('YWJj')", "'abc'"),
    ),
    ScalarFunction(
        "HEX",
        (),
        (
            Signature(("integer",), VARCHAR, "hex_of_integer({0})", (hex_of_integer,)),
            Signature((VARCHAR,), VARCHAR, "hex_of_bytes({0}.encode())", (hex_of_bytes,)),
            Signature((BYTES,), VARCHAR, "hex_of_bytes({0})", (hex_of_bytes,)),
        ),
        "A number, a text in UTF-8 or bytes in hexadecimal, with capital letters.",
        (("HEX(255)", "'FF'"), ("HEX('abc')", "'616263'"), ("HEX(-1)", "'FFFFFFFFFFFFFFFF'")),
    ),
    one(
        "TO_HEX",
        Signature(("integer",), VARCHAR, "hex_of_integer({0}).lower()", (hex_of_integer,)),
        "A number in hexadecimal, with small letters, as in PostgreSQL.",
        ("TO_HEX(255)", "'ff'"),
    ),
    one(
        "UNHEX",
        Signature((VARCHAR,), BYTES, "bytes_of_hex({0})", (bytes_of_hex,), fails=True),
        "The bytes of a text in hexadecimal; the same as `TO_BYTES(…, 'hex')`.",
        ("TO_BASE64(UNHEX('616263'))", "'YWJj'"),
    ),
    _digest(md5, ("MD5('abc')", "'900150983cd24fb0d6963f7d28e17f72'")),
    _digest(sha1, ("SHA1('abc')", "'a9993e364706816aba3e25717850c26c9cd0d89d'")),
    _digest(sha224, ("LENGTH(SHA224('abc'))", "56")),
    _digest(sha256, ("SHA256('abc')", "'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'")),
    _digest(sha384, ("LENGTH(SHA384('abc'))", "96")),
    _digest(sha512, ("LENGTH(SHA512('abc'))", "128")),
    one(
        "UUID",
        Signature((), VARCHAR, "task.chance.uuid()"),
        "A new random UUID (version 4) as text; another one for each row.",
        ("UUID() LIKE '________-____-4%'", "TRUE"),
        aliases=("GEN_RANDOM_UUID",),
    ),
)
