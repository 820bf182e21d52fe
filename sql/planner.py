"""From the logical plan to the physical plan: which operators run where, and what crosses a repartition topic."""

from __future__ import annotations

from dataclasses import replace

from headrace.sql import physical as ph
from headrace.sql import plan as p
from headrace.sql.expressions import AggregateCall, Column, Expr, free_name
from headrace.sql.over_layout import layout_of
from headrace.sql.vocabulary import Emit


def plan_physical(logical: p.LogicalPlan, mode: ph.Mode) -> ph.PhysicalPlan:
    """The physical plan of an app in a mode. In mode single nothing crosses a repartition topic."""
    return _Planner(logical, mode).plan()


class _Planner:
    def __init__(self, logical: p.LogicalPlan, mode: ph.Mode) -> None:
        self._logical = logical
        self._mode = mode
        self._consumers: dict[int, list[p.Node | p.Query]] = {}
        self._stages: list[ph.Stage] = []
        self._numbers: dict[str, int] = {}
        self._exchanges: dict[int, ph.Exchange] = {}
        """By the node whose rows are brought together, the last one planned to its stage."""

    def plan(self) -> ph.PhysicalPlan:
        scans: dict[str, list[p.Scan]] = {}
        for query in self._logical.queries:
            self._register(query.node, query)
            for scan in p.scans_of(query.node):
                if all(scan is not known for known in scans.setdefault(scan.source.topic, [])):
                    scans[scan.source.topic].append(scan)
        for same_topic in scans.values():
            for scan in same_topic:
                self._plan_source(scan)
        return ph.PhysicalPlan(self._mode, _senders_first(self._stages), self._logical.queries)

    def _register(self, node: p.Node, consumer: p.Node | p.Query) -> None:
        known = self._consumers.setdefault(id(node), [])
        if any(consumer is other for other in known):
            return
        known.append(consumer)
        for below in p.inputs(node):
            self._register(below, node)

    def _plan_source(self, scan: p.Scan) -> None:
        source = scan.source
        keys = frozenset(column.name for column in source.columns if column.key)
        everything_here = self._placed(keys or None)
        name = self._stage_name(scan)
        position = len(self._stages)
        operators = self._operators(scan, everything_here, name)
        wanted = {column.name for operator in operators for column in ph.needed(operator)}
        wanted.add(source.event_time.column or "")
        known = (*source.stored_columns, *source.pseudo_columns)
        columns = tuple(column for column in known if column.name in wanted)
        self._stages.insert(position, ph.Stage(name, ph.SourceInput(source, columns), operators))

    def _placed(self, placement: p.Placement) -> p.Placement:
        """Where rows are: in mode single, one task has them all."""
        return frozenset() if self._mode is ph.Mode.SINGLE else placement

    def _stage_name(self, node: p.Node) -> str:
        """The first sink that a stage's rows reach, and an ordinal."""
        sink = self._first_query(node).sink.name.lower()
        ordinal = self._numbers[sink] = self._numbers.get(sink, -1) + 1
        return f"{sink}-{ordinal}"

    def _first_query(self, node: p.Node) -> p.Query:
        consumer = self._consumers[id(node)][0]
        return consumer if isinstance(consumer, p.Query) else self._first_query(consumer)

    def _operators(self, node: p.Node, keyed: p.Placement, stage: str) -> tuple[ph.Operator, ...]:
        """What consumes the rows of a node."""
        return tuple(self._operator(consumer, node, keyed, stage) for consumer in self._consumers[id(node)])

    def _operator(self, consumer: p.Node | p.Query, node: p.Node, keyed: p.Placement, stage: str) -> ph.Operator:
        """A consumer of the rows of a node."""
        match consumer:
            case p.Query():
                return ph.SinkOp(consumer)
            case p.Union():  # each branch in its own stage: where rows must be brought together, those of all are
                (number,) = (index for index, branch in enumerate(consumer.branches) if branch is node)
                return ph.BranchOp(number, self._operators(consumer, None, stage))
            case p.Rekey():
                return ph.RekeyOp(consumer.keys, self._operators(consumer, self._placed(None), stage))
            case p.Filter():
                return ph.FilterOp(consumer.predicate, self._operators(consumer, keyed, stage))
            case p.Project():
                kept = p.placed_through(consumer, keyed)
                return ph.ProjectOp(consumer.items, self._operators(consumer, kept, stage))
            case p.Unnest():
                return ph.UnnestOp(consumer.items, consumer.keeps_empty, self._operators(consumer, keyed, stage))
            case p.Aggregate():
                keys = frozenset(expr.name for _, expr in consumer.keys if isinstance(expr, Column))
                if keyed is not None and keyed <= keys:
                    kept = frozenset(n for n, expr in consumer.keys if isinstance(expr, Column) and expr.name in keyed)
                    return self._aggregate(consumer, ph.Form.COMPLETE, consumer.keys, consumer.calls, stage, kept)
                return self._across(consumer, stage)
            case p.Over() | p.TopN():
                columns = frozenset(column.name for column in consumer.keys)
                is_here = keyed is not None and keyed <= columns
                assert self._mode is ph.Mode.SINGLE or is_here != p.is_rekeyed(consumer)
                if keyed is not None and keyed <= columns:
                    return self._ordered(consumer, stage, keyed)
                return self._rows_across(consumer, stage)
            case p.Scan():
                raise AssertionError("a scan consumes nothing")

    def _aggregate(
        self,
        node: p.Aggregate,
        form: ph.Form,
        keys: tuple[tuple[str, Expr], ...],
        calls: tuple[tuple[str, AggregateCall], ...],
        stage: str,
        keyed: frozenset[str],
        consumers: tuple[ph.Operator, ...] | None = None,
    ) -> ph.AggregateOp:
        """An aggregation; `keyed` are its keys that say where its rows are."""
        number = self._state_number(stage, 1)
        if consumers is None:
            consumers = self._operators(node, keyed, stage)
        return ph.AggregateOp(
            keys,
            node.window,
            calls,
            node.emit is Emit.FINAL,
            node.changes,
            node.ttl_ms,
            node.every_ms,
            form,
            number,
            self._first_query(node),
            consumers,
        )

    def _state_number(self, stage: str, count: int) -> int:
        """The number of an operator's first state in the store of its stage."""
        key = f"states of {stage}"
        number = self._numbers.get(key, 0)
        self._numbers[key] = number + count
        return number

    def _ordered(self, node: p.Over | p.TopN, stage: str, keyed: frozenset[str]) -> ph.OverOp | ph.TopOp:
        """An operator over rows in an order; `keyed` are its keys that say where its rows are."""
        query = self._first_query(node)
        if isinstance(node, p.Over):
            consumers = self._operators(node, keyed, stage)
            wanted = {column.name for consumer in consumers for column in ph.needed(consumer)}
            calls = tuple((name, call) for name, call in node.calls if name in wanted)
            number = self._state_number(stage, layout_of(calls).states)
            return ph.OverOp(node.keys, calls, p.is_rekeyed(node), number, query, consumers)
        assert node.limit is not None, "a query of numbers without a limit is refused"
        number = self._state_number(stage, 1)
        return ph.TopOp(
            node.keys,
            node.order,
            node.newest_first,
            node.number,
            node.limit,
            node.windowed,
            node.changes,
            number,
            query,
            self._operators(node, keyed, stage),
        )

    def _rows_across(self, node: p.Over | p.TopN, sender: str) -> ph.Operator:
        """Rows for an operator that must first be brought together, as they are and with their order."""
        exchange = self._another_branch(node, sender)
        if exchange is None:
            stage = self._stage_name(node)
            exchange = self._exchange(node, stage, partials=False)
            position = len(self._stages)
            operator = self._ordered(node, stage, self._brought_by(frozenset(column.name for column in node.keys)))
            others = self._others(node, operator)
            input_ = ph.ExchangeInput(exchange, (sender,), (*node.keys, *others), ordered=True)
            self._stages.insert(position, ph.Stage(stage, input_, (operator,)))
        else:
            others = self._others(node, self._stage(exchange).consumers[0])
        keys, operands = (tuple((column.name, column) for column in columns) for columns in (node.keys, others))
        timed = isinstance(node, p.Over)
        return ph.RowsToExchange(exchange, keys, operands, None, None, True, self._first_query(node), timed)

    def _across(self, node: p.Aggregate, sender: str) -> ph.Operator:
        """An aggregation whose rows must first be brought together, through a repartition topic to their own stage."""
        exchange = self._another_branch(node, sender)
        stage = exchange.stage if exchange is not None else self._stage_name(node)
        merged = node.emit is Emit.FINAL or node.changes is p.Changes.LATEST or node.every_ms is not None
        partials = merged and node.ttl_ms is None  # a partial aggregate does not say where its rows pause
        partials = partials and all(call.function.mergeable for _, call in node.calls)
        key_columns = tuple(Column(name, expr.type, expr.nullable) for name, expr in node.keys)
        bound_keys: tuple[tuple[str, Expr], ...] = tuple((column.name, column) for column in key_columns)
        keyed = frozenset(name for name, _ in bound_keys)
        position = len(self._stages)
        if partials:
            if exchange is None:
                exchange = self._exchange(node, stage, partials=True)
                brought = self._brought_by(keyed)
                merge = self._aggregate(node, ph.Form.MERGE, bound_keys, node.calls, stage, brought)
                input_ = ph.ExchangeInput(exchange, (sender,), key_columns, ordered=False)
                self._stages.insert(position, ph.Stage(stage, input_, (merge,)))
            to_exchange = (ph.PartialsToExchange(exchange),)
            return self._aggregate(node, ph.Form.PARTIAL, node.keys, node.calls, sender, keyed, to_exchange)
        operands: dict[Expr, Column] = {}
        calls: list[tuple[str, AggregateCall]] = []
        for name, call in node.calls:
            for operand in call.inputs:
                operand_name = free_name(f"operand_{len(operands)}", keyed)
                operands.setdefault(operand, Column(operand_name, operand.type, operand.nullable))
            calls.append((name, call.over(operands.__getitem__)))
        ordered = any(call.aggregation.ordered for _, call in node.calls)
        rows = (*key_columns, *operands.values())
        if exchange is None:
            exchange = self._exchange(node, stage, partials=False)
            brought = self._brought_by(keyed)
            complete = self._aggregate(node, ph.Form.COMPLETE, bound_keys, tuple(calls), stage, brought)
            input_ = ph.ExchangeInput(exchange, (sender,), rows, ordered)
            self._stages.insert(position, ph.Stage(stage, input_, (complete,)))
        sent = tuple((column.name, operand) for operand, column in operands.items())
        return ph.RowsToExchange(exchange, node.keys, sent, node.window, node.ttl_ms, ordered, self._first_query(node))

    # Repartition topics

    def _brought_by(self, keys: frozenset[str]) -> frozenset[str]:
        """Where rows are behind a repartition topic, by their keys."""
        return self._placed(keys) or frozenset()

    def _exchange(self, node: p.Node, stage: str, *, partials: bool) -> ph.Exchange:
        """The repartition topic to a new stage; of the first branch, if rows come from several."""
        exchange = ph.Exchange(stage, partials, 0, _branches(node))
        self._exchanges[id(node)] = exchange
        return exchange

    def _another_branch(self, node: p.Node, sender: str) -> ph.Exchange | None:
        """The repartition topic of a node for one more branch of its rows; None where it has no stage yet."""
        last = self._exchanges.get(id(node))
        if last is None:
            return None
        exchange = self._exchanges[id(node)] = replace(last, branch=last.branch + 1)
        stage = self._stage(exchange)
        assert isinstance(stage.input, ph.ExchangeInput)
        input_ = replace(stage.input, senders=(*stage.input.senders, sender))
        self._stages[self._stages.index(stage)] = replace(stage, input=input_)
        return exchange

    def _stage(self, exchange: ph.Exchange) -> ph.Stage:
        """The stage that reads a repartition topic."""
        return next(stage for stage in self._stages if stage.name == exchange.stage)

    def _others(self, node: p.Over | p.TopN, operator: ph.Operator) -> tuple[Column, ...]:
        """What an operator needs of its rows beside their keys."""
        wanted = {column.name for column in ph.needed(operator)} - {column.name for column in node.keys}
        return tuple(column for column in node.input.columns if column.name in wanted)


def _branches(node: p.Node) -> int:
    """In how many places rows come to a node that has a stage of its own, or to one that is below it."""
    return sum(_ways(below) for below in p.inputs(node))


def _ways(node: p.Node) -> int:
    match node:
        case p.Filter() | p.Project() | p.Unnest() | p.Rekey() | p.Union():
            return _branches(node)
    return 1


def _senders_first(stages: list[ph.Stage]) -> tuple[ph.Stage, ...]:
    """The stages in their order, but each after those that feed it."""
    ordered: dict[str, ph.Stage] = {}
    by_name = {stage.name: stage for stage in stages}

    def place(stage: ph.Stage) -> None:
        if isinstance(stage.input, ph.ExchangeInput):
            for sender in stage.input.senders:
                if sender not in ordered:
                    place(by_name[sender])
        ordered.setdefault(stage.name, stage)

    for stage in stages:
        place(stage)
    return tuple(ordered.values())
