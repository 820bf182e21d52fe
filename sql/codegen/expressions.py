"""Expressions as Python text, with SQL's three-valued logic.

`value` gives code for the value (None for NULL); `true` and `false` give code that is truthy exactly when the
expression is TRUE, or FALSE: what WHERE, HAVING and CASE need, without making a NULL first.
No text of the user stands in the code: literals and patterns are bound by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from headrace.sql import expressions as e
from headrace.sql.codegen import time_arithmetic
from headrace.sql.codegen.casts import NAMES as CAST_NAMES
from headrace.sql.codegen.casts import cast_fails, cast_template, converter, is_nested_cast
from headrace.sql.errors import RecordError
from headrace.sql.runtime import values
from headrace.sql.types import Kind, attributes, struct_class

_COMPARE = {"=": "==", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_INVERSE = {"=": "!=", "<>": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


def fails(expression: e.Expr) -> bool:
    """Whether evaluating it may raise RecordError."""
    match expression:
        case e.Arithmetic():
            return True
        case e.Cast() if cast_fails(expression.operand.type, expression.type) and not expression.on_error_null:
            return True
        case e.Call() if expression.signature.fails or prepares_each(expression):
            return True
    return any(fails(child) for child in e.children(expression))


def prepares_each(call: e.Call) -> bool:
    """Whether an operand has to be prepared row by row, for it is not constant."""
    prepared = call.signature.prepared
    return prepared is not None and not isinstance(call.operands[prepared[0]], e.Literal)


class Names:
    """The namespace of a generated module: objects bound to names that cannot collide."""

    def __init__(self) -> None:
        self.bound: dict[str, Any] = {}
        self._literals: dict[tuple[type, object], str] = {}

    def bind(self, name: str, value: object) -> str:
        """The name under which an object can be used; the same object keeps its name."""
        candidate, ordinal = name, 2
        while candidate in self.bound and self.bound[candidate] is not value:
            candidate, ordinal = f"{name}_{ordinal}", ordinal + 1
        self.bound[candidate] = value
        return candidate

    def literal(self, value: e.LiteralValue | bytes) -> str:
        """Code of a constant: small harmless ones as they are, others by name."""
        if value is None or isinstance(value, bool):
            return repr(value)
        if isinstance(value, int):
            return repr(value) if value >= 0 else f"({value!r})"
        key = (type(value), repr(value))
        if key not in self._literals:
            self._literals[key] = self.bind(f"literal_{len(self._literals)}", value)
        return self._literals[key]


@dataclass(frozen=True, slots=True)
class Variable:
    """Where a column's value is: code without side effects, and whether it may be None."""

    code: str
    nullable: bool


class ExpressionWriter:
    """Writes expressions over the columns of one row."""

    def __init__(self, names: Names, columns: dict[str, Variable], temporaries: list[int]) -> None:
        self._names = names
        self._columns = columns
        self._temporaries = temporaries  # shared by all writers of a function: the next temporary's number
        self._operands: list[str] = []  # temporaries that hold the operands of `With`, the innermost last

    def value(self, expression: e.Expr) -> str:
        match expression:
            case e.Column():
                return self._columns[expression.name].code
            case e.Literal():
                return self._names.literal(expression.value)
            case e.Arithmetic():
                return self._arithmetic(expression)
            case e.Comparison():
                return self._strict((expression.left, expression.right), f"{{0}} {_COMPARE[expression.operator]} {{1}}")
            case e.Logical() | e.Not() | e.InValues() if not expression.nullable:
                return f"({self.true(expression)})"
            case e.Logical():
                return self._logical(expression)
            case e.Not():
                return self._strict((expression.operand,), "not {0}")
            case e.InValues():
                if expression.has_null:
                    return f"({self.true(expression)} or None)"
                return self._strict((expression.operand,), f"{{0}} in {self._set(expression)}")
            case e.IsNull() | e.IsTruth() | e.IsDistinct():
                return f"({self.true(expression)})"
            case e.Like():
                pattern = self._pattern(expression)
                return self._strict((expression.operand,), f"{pattern}({{0}}) is not None")
            case e.Case():
                code = self.value(expression.default)
                for condition, result in reversed(expression.branches):
                    code = f"{self.value(result)} if {self.true(condition)} else {code}"
                return f"({code})"
            case e.Coalesce():
                return self._coalesce(expression)
            case e.Cast():
                return self._cast(expression)
            case e.Call():
                return self._call(expression)
            case e.Field():
                fields = [name for name, _ in expression.operand.type.fields]
                attribute = attributes(expression.operand.type)[fields.index(expression.name)]
                return self._strict((expression.operand,), f"{{0}}.{attribute}")
            case e.MakeStruct():
                make = self._names.bind("Struct", struct_class(expression.type))
                return f"{make}({', '.join(self.value(part) for part in expression.values)})"
            case e.Shared():
                return self._operands[-1]
            case e.With():
                return self._with(expression, self.value)
            case e.LambdaVariable():
                return f"_{expression.name}"
            case e.Lambda():
                names = ", ".join(f"_{parameter.name}" for parameter in expression.parameters)
                return f"(lambda {names}: {self.value(expression.body)})"

    def true(self, expression: e.Expr) -> str:
        match expression:
            case e.Literal():
                return repr(expression.value is True)
            case e.Comparison():
                return self._compare(expression, _COMPARE[expression.operator])
            case e.Logical():
                return f"({self.true(expression.left)} {expression.operator.lower()} {self.true(expression.right)})"
            case e.Not():
                return self.false(expression.operand)
            case e.IsNull(operand=e.Literal() as literal):
                return repr(literal.value is None)
            case e.IsNull():
                return f"{self.value(expression.operand)} is None"
            case e.IsTruth():
                return self.true(expression.operand) if expression.value else self.false(expression.operand)
            case e.IsDistinct():
                return f"{self.value(expression.left)} != {self.value(expression.right)}"
            case e.InValues():
                return f"{self.value(expression.operand)} in {self._set(expression)}"
            case e.Like():
                name, guard = self._guarded(expression.operand)
                return f"({guard}{self._pattern(expression)}({name}) is not None)"
            case e.Call() if _is_strict(expression):
                return self._holds(expression, "({})")
            case e.With():
                return self._with(expression, self.true)
        return f"{self.value(expression)} is True"

    def false(self, expression: e.Expr) -> str:
        match expression:
            case e.Literal():
                return repr(expression.value is False)
            case e.Comparison():
                return self._compare(expression, _INVERSE[expression.operator])
            case e.Logical():
                operator = "or" if expression.operator == "AND" else "and"
                return f"({self.false(expression.left)} {operator} {self.false(expression.right)})"
            case e.Not():
                return self.true(expression.operand)
            case e.IsNull(operand=e.Literal() as literal):
                return repr(literal.value is not None)
            case e.IsNull():
                return f"{self.value(expression.operand)} is not None"
            case e.IsTruth():
                return f"not ({self.true(expression)})"
            case e.IsDistinct():
                return f"{self.value(expression.left)} == {self.value(expression.right)}"
            case e.InValues() if expression.has_null:
                return "False"
            case e.InValues():
                name, guard = self._guarded(expression.operand)
                return f"({guard}{name} not in {self._set(expression)})"
            case e.Like():
                name, guard = self._guarded(expression.operand)
                return f"({guard}{self._pattern(expression)}({name}) is None)"
            case e.Call() if _is_strict(expression):
                return self._holds(expression, "not ({})")
            case e.With():
                return self._with(expression, self.false)
        return f"{self.value(expression)} is False"

    # Parts

    def _temporary(self) -> str:
        self._temporaries[0] += 1
        return f"_{self._temporaries[0]}"

    def _guarded(self, operand: e.Expr) -> tuple[str, str]:
        """A name for an operand, and the test (ending in ` and `) that it is not NULL and binds the name."""
        code = self.value(operand)
        if not operand.nullable:
            return code, ""
        name, first = self._named(code)
        return name, f"{first} is not None and "

    def _named(self, code: str) -> tuple[str, str]:
        """A name for a value, and the code that is to be evaluated first, which binds it where it has none yet."""
        if code.isidentifier():
            return code, code
        name = self._temporary()
        return name, f"({name} := {code})"

    def _with(self, expression: e.With, write: Callable[[e.Expr], str]) -> str:
        """The body in one of its forms, behind the operand that it uses in several places."""
        code, name = self.value(expression.operand), self._temporary()
        self._operands.append(name)
        body = write(expression.body)
        self._operands.pop()
        return f"({name} := {code}, {body})[1]"

    def _logical(self, expression: e.Logical) -> str:
        """The value of AND or OR, with each side computed once at most; the right one only where it matters."""
        left, right = expression.left, expression.right
        ends = expression.operator == "OR"  # the value of a side that decides
        if not left.nullable:
            decided, undecided = (self.true(left), self.value(right))
            return f"(True if {decided} else {undecided})" if ends else f"({undecided} if {decided} else False)"
        name, first = self._named(self.value(left))
        if not right.nullable:
            decides = self.true(right) if ends else f"not ({self.true(right)})"
            return f"({ends} if {first} is {ends} or {decides} else {name})"
        other, second = self._named(self.value(right))
        unknown = f"{name} is None or {other} is None"
        return f"({ends} if {first} is {ends} or {second} is {ends} else None if {unknown} else {not ends})"

    def _compare(self, expression: e.Comparison, operator: str) -> str:
        left, left_guard = self._guarded(expression.left)
        right, right_guard = self._guarded(expression.right)
        code = f"{left_guard}{right_guard}{left} {operator} {right}"
        return f"({code})" if left_guard or right_guard else code

    def _strict(self, operands: tuple[e.Expr, ...], template: str) -> str:
        """A template over operands; NULL where one of them is."""
        if any(isinstance(operand, e.Literal) and operand.value is None for operand in operands):
            return "None"
        guards: list[str] = []
        codes: list[str] = []
        for operand in operands:
            code = self.value(operand)
            if operand.nullable:
                code, first = self._named(code)
                guards.append(f"{first} is None")
            codes.append(code)
        filled = _filled(template, codes)
        return f"(None if {' or '.join(guards)} else {filled})" if guards else f"({filled})"

    def _arithmetic(self, expression: e.Arithmetic) -> str:
        return self._strict((expression.left, expression.right), self._arithmetic_template(expression))

    def _arithmetic_template(self, expression: e.Arithmetic) -> str:
        operator, type_ = expression.operator, expression.type
        use = self._use
        if expression.left.type.kind in time_arithmetic.KINDS:
            for name, function in time_arithmetic.NAMES.items():
                self._names.bind(name, function)
            return time_arithmetic.template(operator, expression.left.type, expression.right.type)
        match type_.kind:
            case Kind.INT | Kind.BIGINT:
                if operator in "/%":
                    function = use(values.divide_integer if operator == "/" else values.modulo_integer)
                    check = use(values.in_int if type_.kind is Kind.INT else values.in_bigint)
                    return f"{check}({function}({{0}}, {{1}}))"
                low = self._names.bind(f"{type_.kind}_MIN", getattr(values, f"{type_.kind}_MIN"))
                high = self._names.bind(f"{type_.kind}_MAX", getattr(values, f"{type_.kind}_MAX"))
                name = self._temporary()
                error = f'{use(values.overflow)}("{type_.kind}")'
                return f"({name} if {low} <= ({name} := {{0}} {operator} {{1}}) <= {high} else {error})"
            case Kind.DOUBLE:
                if operator in "/%":
                    function = use(values.divide_double if operator == "/" else values.modulo_double)
                    return f"{use(values.finite)}({function}({{0}}, {{1}}))"
                name = self._temporary()
                # a value that is not finite is the one kind of float that differs from itself when subtracted
                error = f'{use(values.overflow)}("DOUBLE")'
                return f"({name} if ({name} := {{0}} {operator} {{1}}) - {name} == 0.0 else {error})"
            case Kind.DECIMAL:
                function = use(
                    {
                        "+": values.decimal_add,
                        "-": values.decimal_subtract,
                        "*": values.decimal_multiply,
                        "/": values.divide_decimal,
                        "%": values.modulo_decimal,
                    }[operator],
                    {"+": "decimal_add", "-": "decimal_subtract", "*": "decimal_multiply"}.get(operator),
                )
                return f"{use(values.fit_decimal)}({function}({{0}}, {{1}}), {type_.precision}, {type_.scale})"
        raise AssertionError(f"no arithmetic makes {type_}")

    def _coalesce(self, expression: e.Coalesce) -> str:
        code = self.value(expression.operands[-1])
        for operand in reversed(expression.operands[:-1]):
            value = self.value(operand)
            if not operand.nullable:
                code = value
            else:
                name, first = self._named(value)
                code = f"{name} if {first} is not None else {code}"
        return f"({code})"

    def _cast(self, expression: e.Cast) -> str:
        if is_nested_cast(expression.operand.type, expression.type):
            convert = converter(expression.operand.type, expression.type)
            template = f"{self._names.bind('conversion', convert)}({{0}})"
        else:
            template = cast_template(expression.operand.type, expression.type)
        for name, value in CAST_NAMES.items():
            if f"{name}(" in template or (name == "DAY_MS" and name in template):
                self._names.bind(name, value)
        if expression.on_error_null and cast_fails(expression.operand.type, expression.type):
            function = self._names.bind("try_cast", try_cast)
            conversion = self._names.bind("conversion", converter(expression.operand.type, expression.type))
            template = f"{function}({conversion}, {{0}})"
        return self._strict((expression.operand,), template)

    def _call(self, expression: e.Call) -> str:
        signature = expression.signature
        self._bind_names(expression)
        if signature.skips_null and any(operand.nullable for operand in expression.operands):
            codes = ", ".join(self.value(operand) for operand in expression.operands)
            kept = f"filter({self._use(is_not_null)}, ({codes},))"
            return f"{signature.template.replace('{*}', f'{kept}, default=None')}"
        if signature.sees_null:
            return _filled(signature.template, [self.value(operand) for operand in expression.operands])
        return self._strict(expression.operands, self._template(expression))

    def _holds(self, expression: e.Call, test: str) -> str:
        """A test of the result of a BOOLEAN call; false where an operand is NULL."""
        self._bind_names(expression)
        guarded = [self._guarded(operand) for operand in expression.operands]
        code = test.format(_filled(self._template(expression), [name for name, _ in guarded]))
        return f"({''.join(guard for _, guard in guarded)}{code})"

    def _bind_names(self, expression: e.Call) -> None:
        for function in expression.signature.names:
            self._use(function)

    def _template(self, expression: e.Call) -> str:
        """The template of a call, with a prepared operand in it."""
        if expression.signature.prepared is None:
            return expression.signature.template
        index, prepare = expression.signature.prepared
        operand = expression.operands[index]
        code = f"{self._use(prepare, 'prepare')}({{{index}}})"
        if isinstance(operand, e.Literal) and isinstance(operand.value, str):
            code = self._use(prepare(operand.value), "prepared")
        return expression.signature.template.replace(f"{{{index}}}", code)

    def _pattern(self, expression: e.Like) -> str:
        pattern = values.like_pattern(expression.pattern, expression.escape, case_sensitive=expression.case_sensitive)
        return self._names.bind("like", pattern.fullmatch)

    def _set(self, expression: e.InValues) -> str:
        return self._names.bind("members", frozenset(expression.values))

    def _use(self, function: Any, name: str | None = None) -> str:
        return self._names.bind(name or function.__name__, function)


def _filled(template: str, codes: list[str]) -> str:
    """A template with the codes of operands in their places."""
    filled = template.replace("{*}", ", ".join(codes) + ("," if len(codes) == 1 else ""))
    for index, code in enumerate(codes):
        filled = filled.replace(f"{{{index}}}", code)
    return filled


def _is_strict(call: e.Call) -> bool:
    """Whether a call is NULL exactly where an operand is."""
    return not (call.signature.sees_null or call.signature.skips_null or call.signature.may_be_null)


def is_not_null(value: object) -> bool:
    return value is not None


def try_cast(conversion: Any, value: object) -> Any:
    """The converted value; NULL where it cannot be converted."""
    try:
        return conversion(value)
    except RecordError:
        return None
