"""Stable text of plans: what each query computes, and how it is cut into stages."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from headrace.sql import expressions as e
from headrace.sql import physical as ph
from headrace.sql import plan as p
from headrace.sql.types import Kind
from headrace.sql.vocabulary import Direction


class ExplainStage(StrEnum):
    """The steps of compilation that can be shown."""

    LOGICAL = "logical"
    PHYSICAL = "physical"
    TOPOLOGY = "topology"
    CODE = "code"


def show(expression: e.Expr) -> str:
    """An expression as SQL, fully parenthesized where operators meet."""
    match expression:
        case e.Column():
            return expression.name
        case e.Literal():
            return _literal(expression)
        case e.Arithmetic() | e.Comparison() | e.Logical():
            return f"({show(expression.left)} {expression.operator} {show(expression.right)})"
        case e.Not():
            return f"(NOT {show(expression.operand)})"
        case e.IsNull():
            return f"({show(expression.operand)} IS NULL)"
        case e.IsTruth():
            return f"({show(expression.operand)} IS {str(expression.value).upper()})"
        case e.IsDistinct():
            return f"({show(expression.left)} IS DISTINCT FROM {show(expression.right)})"
        case e.InValues():
            values = [_value(value) for value in expression.values] + (["NULL"] if expression.has_null else [])
            return f"({show(expression.operand)} IN ({', '.join(values)}))"
        case e.Like():
            operator = "LIKE" if expression.case_sensitive else "ILIKE"
            escape = f" ESCAPE {_value(expression.escape)}" if expression.escape else ""
            return f"({show(expression.operand)} {operator} {_value(expression.pattern)}{escape})"
        case e.Case():
            branches = " ".join(f"WHEN {show(when)} THEN {show(then)}" for when, then in expression.branches)
            return f"CASE {branches} ELSE {show(expression.default)} END"
        case e.Coalesce():
            return f"COALESCE({', '.join(map(show, expression.operands))})"
        case e.Cast():
            word = "TRY_CAST" if expression.on_error_null else "CAST"
            return f"{word}({show(expression.operand)} AS {expression.type})"
        case e.Field():
            return f"{show(expression.operand)}->{expression.name}"
        case e.MakeStruct():
            pairs = zip(expression.type.fields, expression.values, strict=True)
            return f"STRUCT({', '.join(f'{name} := {show(value)}' for (name, _), value in pairs)})"
        case e.Shared():
            return show(expression.shown)
        case e.With():
            return show(expression.body)
        case e.LambdaVariable():
            return expression.name
        case e.Lambda():
            names = ", ".join(parameter.name for parameter in expression.parameters)
            return f"({names}) => {show(expression.body)}"
        case e.Call(name="->" | "->>", operands=(operand, part)):
            return f"({show(operand)} {expression.name} {show(part)})"
        case e.Call():
            return f"{expression.name}({', '.join(map(show, expression.operands))})"


def _literal(literal: e.Literal) -> str:
    if literal.type.kind is Kind.INTERVAL:
        return f"INTERVAL '{literal.value}' MILLISECOND"
    if literal.type.kind is Kind.MONTHS:
        return f"INTERVAL '{literal.value}' MONTH"
    if literal.type.kind in (Kind.TIMESTAMP, Kind.TIMESTAMP_LTZ, Kind.DATE, Kind.TIME):
        return f"{literal.type.kind} {literal.value}"
    return _value(literal.value)


def _value(value: e.LiteralValue) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return format(value, "f") if isinstance(value, Decimal) else repr(value)


def show_call(call: e.AggregateCall) -> str:
    """A call of an aggregate function."""
    name = call.function.name
    distinct = "DISTINCT " if call.distinct or name == "COUNT_DISTINCT" else ""
    parts = ", ".join((*map(show, call.operands), *map(_value, call.constants)))
    shown = [f"{show(key)}{_direction(way)}" for key, way in zip(call.keys, call.directions, strict=False)]
    if call.directions and not call.keys:
        shown = [f"{show(call.operands[0])}{_direction(call.directions[0])}"]
    order = f" ORDER BY {', '.join(shown)}" if shown else ""
    where = f" FILTER (WHERE {show(call.condition)} IS NOT NULL)" if call.condition is not None else ""
    return f"{'COUNT' if name == 'COUNT_DISTINCT' else name}({distinct}{parts or '*'}{order}){where}"


def _direction(direction: Direction) -> str:
    nulls = " NULLS FIRST" if direction.nulls_first else ""
    return f"{' DESC' if direction.descending else ''}{nulls}"


def _columns(columns: tuple[e.Column, ...]) -> str:
    return ", ".join(f"{c.name} {c.type}{'' if c.nullable else ' NOT NULL'}" for c in columns)


def show_over(call: e.OverCall) -> str:
    """A call before OVER, and the frame that it looks at."""
    operands = [show(call.operand)] if call.operand is not None else []
    operands += [str(call.rows)] if call.rows else []
    operands += [show(call.default)] if call.default is not None else []
    text = f"{call.name}({', '.join(operands)})" if call.aggregate is None else show_call(call.aggregate)
    if call.frame is None:
        return text
    unit = call.frame.unit
    far = "UNBOUNDED" if call.frame.preceding is None else str(call.frame.preceding)
    return f"{text} {unit} {far}{' ms' if unit == 'RANGE' and far != 'UNBOUNDED' else ''} PRECEDING"


def _over(keys: tuple[e.Column, ...], calls: tuple[tuple[str, e.OverCall], ...]) -> str:
    by = ", ".join(column.name for column in keys)
    return f"by ({by}): {', '.join(f'{show_over(call)} AS {name}' for name, call in calls)}"


def _unnest(node: p.Unnest | ph.UnnestOp) -> str:
    items = ", ".join(f"{show(expr)} AS {name}" for name, expr in node.items)
    return f"Unnest {items}{', or NULL' if node.keeps_empty else ''}"


def _top(top: p.TopN | ph.TopOp, name: str) -> str:
    order = [
        f"{key.column.name}{' DESC' if key.descending else ''} NULLS {'FIRST' if key.nulls_first else 'LAST'}"
        if key.column.nullable
        else f"{key.column.name}{' DESC' if key.descending else ''}"
        for key in top.order
    ]
    by = ", ".join(column.name for column in top.keys)
    ties = ", newest first" if top.newest_first else ""
    emit = "when the window has closed" if top.windowed else f"emit changes ({top.changes})"
    return f"Top {top.limit} by ({by}) in the order of {', '.join(order)}{ties} AS {name}; {emit}"


# Logical plan


def explain_logical(plan: p.LogicalPlan) -> str:
    """Each query: its sink, then its plan, the source last."""
    lines: list[str] = []
    names: dict[int, str] = {}
    for name, node in plan.views:
        lines.append(f"View {name}")
        _logical(node, 1, lines, names, top=True)
        names.setdefault(id(node), name)
        lines.append("")
    for query in (*plan.queries, *plan.explained):
        lines.append(f"Query {query.name} → {query.sink.kind} {query.sink.topic}")
        _logical(query.node, 1, lines, names, top=True)
        names.setdefault(id(query.node), query.name)
        lines.append("")
    for insert in plan.inserts:
        lines.append(f"Insert into {insert.source.name}")
        lines.extend(f"  {record.value.decode()} at {record.timestamp}" for record in insert.records)
    if plan.inserts:
        lines.append("")
    return "\n".join(lines)


def _logical(node: p.Node, depth: int, lines: list[str], names: dict[int, str], *, top: bool) -> None:
    indent = "  " * depth
    if not top and id(node) in names:
        lines.append(f"{indent}Rows of {names[id(node)]}")
        return
    match node:
        case p.Scan():
            lines.append(f"{indent}Scan {node.source.name} (topic {node.source.topic}): {_columns(node.columns)}")
            lines.append(f"{indent}  {_event_time(node.source)}")
            return
        case p.Filter():
            lines.append(f"{indent}Filter {show(node.predicate)}")
        case p.Unnest():
            lines.append(f"{indent}{_unnest(node)}")
        case p.Project():
            lines.append(f"{indent}Project {_items(node.items)}")
        case p.Rekey():
            lines.append(f"{indent}Partition by ({', '.join(column.name for column in node.keys)})")
        case p.Union():
            lines.append(f"{indent}Union all")
        case p.Over():
            lines.append(f"{indent}Over {_over(node.keys, node.calls)}")
        case p.TopN():
            lines.append(f"{indent}{_top(node, node.number)}")
        case p.Aggregate():
            lines.append(f"{indent}Aggregate {_aggregate(node.keys, node.calls)}")
            emit = _emit(node, final=node.emit == "final")
            lines.append(f"{indent}  {emit}")
    for below in p.inputs(node):
        _logical(below, depth + 1, lines, names, top=False)


def explain_rows(node: p.Node) -> str:
    """How the rows of a node are made, from the sources on: the same text where they are the same rows."""
    lines: list[str] = []
    _logical(node, 0, lines, {}, top=True)
    # What else a source declares makes no difference to them.
    return "\n".join(line.partition("): ")[0] if line.lstrip().startswith("Scan ") else line for line in lines)


def _event_time(source: p.Source) -> str:
    time = source.event_time
    where = f"event time {time.column}" if time.column else "event time of the Kafka record"
    where = f"processing time {time.column}" if time.processing else where
    keys = ", ".join(c.name for c in source.columns if c.key)
    return f"{where}, delay {time.delay_ms} ms" + (f"; keyed by {keys}" if keys else "")


def _items(items: tuple[tuple[str, e.Expr], ...]) -> str:
    return ", ".join(name if show(expr) == name else f"{show(expr)} AS {name}" for name, expr in items)


def _aggregate(keys: tuple[tuple[str, e.Expr], ...], calls: tuple[tuple[str, e.AggregateCall], ...]) -> str:
    shown = ", ".join(f"{show_call(call)} AS {name}" for name, call in calls)
    return f"by ({_items(keys)}){': ' if shown else ''}{shown}"


def _changes(of: p.Aggregate | ph.AggregateOp) -> str:
    if of.changes is None:
        return "each row once"
    return f"changes ({of.changes})" if of.every_ms is None else f"every {of.every_ms} ms"


def _emit(of: p.Aggregate | ph.AggregateOp, *, final: bool) -> str:
    window = of.window
    shape = f"{window}, grace {window.grace_ms} ms" if window else "no window"
    return f"{shape}{_ttl(of.ttl_ms)}; emit {'final' if final else _changes(of)}"


def _ttl(ttl_ms: int | None) -> str:
    return f", ttl {ttl_ms} ms" if ttl_ms is not None else ""


def show_listings(listings: tuple[p.Listing, ...]) -> str:
    """What SHOW and DESCRIBE tell, each as a title and columns."""
    return "\n".join(map(_listing, listings))


def _listing(listing: p.Listing) -> str:
    rows = (listing.header, *listing.rows)
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join((listing.title, *(f"  {line}" for line in lines), ""))


# Physical plan


def explain_physical(plan: ph.PhysicalPlan) -> str:
    """Each stage: its input, and the operators its rows are pushed through."""
    return "\n".join([f"Mode {plan.mode}", "", *(explain_stage(stage) for stage in plan.stages)])


def explain_stage(stage: ph.Stage) -> str:
    """One stage; what its state depends on, so also the text of its plan version."""
    lines = [f"Stage {stage.name}{' (stateful)' if stage.stateful else ''}"]
    match stage.input:
        case ph.SourceInput(source=source, columns=columns):
            lines.append(f"  from topic {source.topic}: {_columns(tuple(c.column for c in columns))}")
            lines.append(f"    {_event_time(source)}")
        case ph.ExchangeInput(exchange=exchange, senders=senders, rows=rows):
            what = "partial aggregates" if exchange.partials else "rows"
            stages = f"stage{'s' if len(senders) > 1 else ''} {', '.join(senders)}"
            lines.append(f"  from {stages}, re-keyed {what}: {_columns(rows)}")
    for operator in stage.consumers:
        _operator(operator, 2, lines)
    return "\n".join(lines) + "\n"


def _to(exchange: ph.Exchange) -> str:
    branch = f" ({exchange.branch + 1} of {exchange.branches})" if exchange.branches > 1 else ""
    return f"stage {exchange.stage}{branch}"


def _kept(calls: list[e.AggregateCall], indent: str) -> list[str]:
    """The states of users' own functions."""
    kept = {call.function.name: call.aggregation.keeps for call in calls if call.aggregation.keeps}
    return [f"{indent}  {name} keeps {what}" for name, what in kept.items()]


def _operator(operator: ph.Operator, depth: int, lines: list[str]) -> None:
    indent = "  " * depth
    match operator:
        case ph.FilterOp():
            lines.append(f"{indent}Filter {show(operator.predicate)}")
        case ph.UnnestOp():
            lines.append(f"{indent}{_unnest(operator)}")
        case ph.ProjectOp():
            lines.append(f"{indent}Project {_items(operator.items)}")
        case ph.AggregateOp():
            lines.append(f"{indent}Aggregate ({operator.form}) {_aggregate(operator.keys, operator.calls)}")
            emit = _emit(operator, final=operator.final)
            lines.append(f"{indent}  {emit}")
            lines += _kept([call for _, call in operator.calls], indent)
        case ph.OverOp():
            lines.append(f"{indent}Over {_over(operator.keys, operator.calls)}")
            lines.append(f"{indent}  in the order of event time{', re-keyed' if operator.rekeyed else ''}")
            lines += _kept([over.aggregate for _, over in operator.calls if over.aggregate is not None], indent)
        case ph.TopOp():
            lines.append(f"{indent}{_top(operator, operator.name)}")
        case ph.RekeyOp():
            lines.append(f"{indent}Record key ({', '.join(column.name for column in operator.keys)})")
        case ph.BranchOp():
            lines.append(f"{indent}Branch {operator.number}")
        case ph.SinkOp(query=query):
            lines.append(f"{indent}Sink {query.sink.kind} {query.sink.topic} ({query.name})")
        case ph.RowsToExchange():
            to = f"{_to(operator.exchange)}, key ({_items(operator.keys)}){_ttl(operator.ttl_ms)}"
            lines.append(f"{indent}Send rows to {to}")
            if operator.operands:
                lines.append(f"{indent}  with {_items(operator.operands)}")
        case ph.PartialsToExchange():
            lines.append(f"{indent}Send partial aggregates to {_to(operator.exchange)}")
    for consumer in ph.consumers_of(operator):
        _operator(consumer, depth + 1, lines)
