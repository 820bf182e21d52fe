"""What sqlglot's nodes carry: something of Headrace's, their place in the text, their names."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

from sqlglot import exp
from sqlglot.tokenizer_core import Token

from headrace.sql import syntax
from headrace.sql.errors import Span, sql_error

EMIT_ARG = "headrace_emit"
GROUPING_WINDOW_ARG = "headrace_window"
NAMED_WINDOWS_ARG = "headrace_named_windows"
OVER_ARG = "headrace_over"
PARTITION_BY_ARG = "headrace_partition_by"
_HELD = "held"
_SPAN = "headrace_span"

N = TypeVar("N", bound=exp.Expr | None)


def holder(value: object) -> exp.Expr:
    """A sqlglot node that carries something of ours through sqlglot's tree."""
    node = exp.Var(this="headrace")
    node.meta[_HELD] = value
    return node


def is_holder(node: exp.Expr) -> bool:
    """Whether a node carries something of ours."""
    return _HELD in node.meta


def held(node: exp.Expr) -> Any:
    """What a node carries."""
    return node.meta[_HELD]


def token_span(token: Token) -> Span:
    """The place of one token."""
    return Span(token.start, token.end + 1)


def placed(node: N, first: Token, last: Token | None = None) -> N:
    """A node that tells where its tokens are, from the first to the last (None: that one), which its parts do not."""
    if node is not None:
        node.meta.update(start=first.start, end=(last or first).end)
    return node


def span_of(node: exp.Expr, otherwise: Span) -> Span:
    """The place of a node: from its first to its last token that has one."""
    if _SPAN not in node.meta:
        for part in reversed(list(node.walk())):  # parts before what is made of them, each of them once
            meta = part.meta
            spans = [found for child in part.iter_expressions() if (found := child.meta[_SPAN]) is not None]
            if "start" in meta and "end" in meta:
                spans.append(Span(meta["start"], meta["end"] + 1))
            found = Span(min(span.start for span in spans), max(span.end for span in spans)) if spans else None
            meta[_SPAN] = found
    place: Span | None = node.meta[_SPAN]
    return otherwise if place is None else place


def refuse(what: str, span: Span) -> NoReturn:
    """SqlError for a construct of SQL by its name."""
    raise sql_error(f"{what} is not supported yet", span)


def checked_name(text: str, span: Span) -> str:
    """A name that JSON can have without escapes; SqlError for another."""
    if any(character in '"\\' or character < " " for character in text):
        raise sql_error("a name cannot hold quotes, backslashes or control characters", span)
    return text


def identifier(node: exp.Expr, around: Span) -> syntax.Identifier:
    """A name as written, at the place of its node."""
    span = span_of(node, around)
    return syntax.Identifier(checked_name(node.name, span), bool(node.args.get("quoted")), span)
