"""Records for sinks as generated code: value Structs, record keys, the text forms of times."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.sql import plan as p
from headrace.sql.codegen.expressions import Names, Variable
from headrace.sql.codegen.writer import tuple_text
from headrace.sql.formats import JSON, FormatName
from headrace.sql.runtime import values
from headrace.sql.runtime.binary import pack
from headrace.sql.runtime.encoders import text_of_bytes
from headrace.sql.runtime.nested import jsonable
from headrace.sql.runtime.time_format import form_of
from headrace.sql.types import Kind, Type

_encode_json = msgspec.json.Encoder(decimal_format="number").encode


def _name_of(function: Any) -> str:
    name: str = function.__name__
    return name if name.isidentifier() else "jsonable"


class SinkCode:
    """How one query's rows become record keys and values; binds what the code needs in the namespace."""

    def __init__(self, query: p.Query, number: int, names: Names) -> None:
        self.query = query
        self.number = number
        self._names = names
        sink = query.sink
        self.columns = p.value_columns(query.node, sink)
        fields = [f"c{index}" for index in range(len(self.columns))]
        struct = msgspec.defstruct(
            "Value",
            [(field, Any) for field in fields],
            gc=False,
            rename=dict(zip(fields, (column.name for column in self.columns), strict=True)),
        )
        self._format = sink.value_format
        self._value = names.bind(f"Value_{number}", struct) if self._format == JSON else ""
        form = form_of(sink.timestamp_format) if sink.timestamp_format is not None else None
        self._times = (form.format, form.format_instant) if form is not None else None
        self._key: str | None = None

    def value(self, columns: dict[str, Variable]) -> str:
        """Code of what the encoder of the sink's format makes a record's value of."""
        match self._format.name:
            case FormatName.JSON | FormatName.JSON_VALUE:
                parts = [self._json(columns[c.name], c.type) for c in self.columns]
            case FormatName.CSV:
                return f"({tuple_text([self._field(columns[c.name], c.type) for c in self.columns])})"
            case FormatName.BINARY | FormatName.RAW:
                parts = [columns[c.name].code for c in self.columns]
        return parts[0] if self._format.is_single else f"{self._value}({', '.join(parts)})"

    def _field(self, variable: Variable, type_: Type) -> str:
        """Code of a field of CSV."""
        makers = {
            Kind.BOOLEAN: values.text_of_boolean,
            Kind.DECIMAL: values.text_of_decimal,
            Kind.BYTES: text_of_bytes,
        }
        if type_.kind is Kind.JSON:
            return variable.code
        if type_.kind not in makers:
            return self._json(variable, type_)
        make = makers[type_.kind]
        call = f"{self._names.bind(make.__name__, make)}({variable.code})"
        return f"(None if {variable.code} is None else {call})" if variable.nullable else call

    def key(self, keys: list[tuple[Variable, Type]], start: str | None, end: str | None) -> str:
        """Code of the key of a grouped record, over the grouping key and the window."""
        sink = self.query.sink
        assert sink.key_columns is not None
        if len(keys) == 1 and end is None:
            return self._single_key(keys[0], sink)
        parts = [self._json(variable, type_) for variable, type_ in keys]
        if start is not None and end is not None:
            parts += [self._json(Variable(code, False), Type(Kind.TIMESTAMP)) for code in (start, end)]
        if self._key is None:
            fields = [f"k{index}" for index in range(len(parts))]
            rename = dict(zip(fields, sink.key_columns, strict=True))
            struct = msgspec.defstruct("Key", [(field, Any) for field in fields], gc=False, rename=rename)
            self._key = self._names.bind(f"Key_{self.number}", struct)
        return f"{self._key}({', '.join(parts)})"  # the sink encodes such keys together, as it does the values

    def _single_key(self, key: tuple[Variable, Type], sink: p.Sink) -> str:
        variable, type_ = key
        assert sink.key_columns is not None
        encode = self._names.bind("encode_json", _encode_json)
        if sink.key_format == "json":
            text = f"{encode}({self._json(Variable(variable.code, False), type_)})"
        elif sink.key_format == "binary":
            text = f"{self._names.bind(f'pack_{self.number}', pack(type_))}({variable.code})"
        else:
            text = self._text(variable.code, type_)
        if not variable.nullable:
            return text
        null = self._names.literal(msgspec.json.encode({sink.key_columns[0]: None}))
        return f"({null} if {variable.code} is None else {text})"

    def _json(self, variable: Variable, type_: Type) -> str:
        """Code of a value as msgspec encodes it."""
        function = jsonable(type_, self._times)
        if function is None:
            return variable.code
        name = _name_of(function)
        if self._times is not None and function in self._times:
            name = f"{'format' if function == self._times[0] else 'format_instant'}_{self.number}"
        call = f"{self._names.bind(name, function)}({variable.code})"
        return f"(None if {variable.code} is None else {call})" if variable.nullable else call

    def _text(self, code: str, type_: Type) -> str:
        match type_.kind:
            case Kind.VARCHAR | Kind.JSON:
                return f"{code}.encode()"
            case Kind.BYTES:
                return code
            case Kind.ARRAY | Kind.MAP | Kind.STRUCT:
                encode = self._names.bind("encode_json", _encode_json)
                return f"{encode}({self._json(Variable(code, False), type_)})"
            case Kind.BOOLEAN:
                text = f"{self._names.bind('text_of_boolean', values.text_of_boolean)}({code})"
            case Kind.DECIMAL:
                text = f"{self._names.bind('text_of_decimal', values.text_of_decimal)}({code})"
            case _:
                text = f"str({self._json(Variable(code, False), type_)})"
        return f"{text}.encode()"
