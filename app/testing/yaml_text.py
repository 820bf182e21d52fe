"""YAML as plain values that know their lines: the core schema of YAML 1.2, so that times and `no` stay text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from headrace.app.errors import InputError
from headrace.app.inputs import read_text

_NULL, _BOOL, _INT, _FLOAT, _STR = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str"))


class _CoreLoader(yaml.SafeLoader):
    """PyYAML without the implicit types of YAML 1.1 (times, sexagesimal numbers, yes and no)."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own attribute)


for _tag, _pattern, _first in (
    (_NULL, r"null|Null|NULL|~|", ["n", "N", "~", ""]),
    (_BOOL, r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (_INT, r"[-+]?[0-9]+", list("-+0123456789")),
    (_FLOAT, r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    _CoreLoader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), _first)


class YamlText:
    """A YAML file: its values, and the line of each."""

    def __init__(self, path: Path) -> None:
        """InputError, with the line, where it is no YAML of plain values."""
        self.file = str(path)
        try:
            self._root = yaml.compose(read_text(path), Loader=_CoreLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = f":{mark.line + 1}" if mark is not None else ""
            raise InputError(f"{path}{line}: not YAML: {error.problem or error.context}") from None
        except yaml.YAMLError as error:
            raise InputError(f"{path}: not YAML: {str(error).splitlines()[0]}") from None
        self.value: Any = None if self._root is None else self._plain(self._root, ())

    def _plain(self, node: yaml.Node, around: tuple[yaml.Node, ...]) -> Any:
        if node in around:
            raise self._wrong(node, "a value that holds itself")
        inside = (*around, node)
        match node:
            case yaml.MappingNode():
                values: dict[str, Any] = {}
                for key, value in node.value:
                    name = self._name(key)
                    if name in values:
                        raise self._wrong(key, f"`{name}` stands twice")
                    values[name] = self._plain(value, inside)
                return values
            case yaml.SequenceNode():
                return [self._plain(item, inside) for item in node.value]
        return self._scalar(node)

    def _name(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self._wrong(node, "a name is text")
        return str(node.value)

    def _scalar(self, node: yaml.Node) -> Any:
        text = node.value
        match node.tag:
            case tag if tag == _NULL:
                return None
            case tag if tag == _BOOL:
                return text.lower() == "true"
            case tag if tag == _INT:
                return int(text)
            case tag if tag == _FLOAT:
                return Decimal(text)
            case tag if tag == _STR:
                return text
        raise self._wrong(node, f"a value with the tag {node.tag}")

    def _wrong(self, node: yaml.Node, what: str) -> InputError:
        return InputError(f"{self.file}:{node.start_mark.line + 1}: {what}")

    def line(self, path: Sequence[str | int]) -> int:
        """The line of the value at a path of names and indexes; of what is around it, as far as it exists."""
        node = self._root
        line = 1 if node is None else node.start_mark.line + 1
        for part in path:
            found: yaml.Node | None = None
            if isinstance(node, yaml.MappingNode):
                pair = next((pair for pair in node.value if pair[0].value == part), None)
                if pair is not None:
                    line, found = pair[0].start_mark.line + 1, pair[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
                found = node.value[part]
                line = found.start_mark.line + 1
            if found is None:
                return line
            node = found
        return line

    def place(self, path: Sequence[str | int]) -> str:
        """File and line of the value at a path."""
        return f"{self.file}:{self.line(path)}"
