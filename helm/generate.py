"""Writes what the chart says twice: the values table of its README and the settings in its schema.

`python helm/generate.py`; tests/helm checks that nothing is out of date. The table has the values of values.yaml with
the comments that begin with `# -- `, as helm-docs has them.
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import get_args

import yaml

from headrace.app.server.jobs import SERVER_SETTINGS
from headrace.app.settings import Settings

CHART = Path(__file__).parent / "headrace"
README = CHART / "README.md"
SCHEMA = CHART / "values.schema.json"
OWNED = {
    *("app", "bootstrap_servers", "guarantee", "http_host", "http_port", "instance_id", "kafka", "mode", "parallelism"),
    *("state_dir", "udf", "workers"),
    *SERVER_SETTINGS,
}
"""Settings that the chart sets by other values, or that are of a job server."""
BEGIN, END = "<!-- generated: values -->\n", "<!-- end -->"


def main() -> None:
    README.write_text(readme(), encoding="utf-8")
    SCHEMA.write_text(schema(), encoding="utf-8")


def readme() -> str:
    """The README with the table of today."""
    rows = "".join(f"| `{key}` | `{default}` | {meaning} |\n" for key, default, meaning in documented_values())
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n| value | default | meaning |\n| --- | --- | --- |\n{rows}\n{END}{after}"


def documented_values() -> list[tuple[str, str, str]]:
    """Key, default (JSON) and meaning of each value that has a `# -- ` comment."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    rows, path, comment = [], list[str](), list[str]()
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            comment.append(stripped.removeprefix("# -- ").removeprefix("# "))
        elif match := re.match(r"( *)([\w-]+):", line):
            path = [*path[: len(match[1]) // 2], match[2]]
            if comment:
                rows.append((".".join(path), json.dumps(_at(values, path)), " ".join(comment).replace("|", "\\|")))
            comment = []
    return rows


def _at(values: object, path: list[str]) -> object:
    for key in path:
        assert isinstance(values, dict)
        values = values[key]
    return values


def schema() -> str:
    """The schema with the settings of today."""
    content = json.loads(SCHEMA.read_text(encoding="utf-8"))
    settings = {name: _allowed(name) for name in sorted(Settings.model_fields.keys() - OWNED)}
    content["$defs"]["settings"] = {"type": "object", "additionalProperties": False, "properties": settings}
    return json.dumps(content, indent=2) + "\n"


def _allowed(name: str) -> dict[str, object]:
    annotation = Settings.model_fields[name].annotation
    for kind in get_args(annotation) or (annotation,):
        if not isinstance(kind, type):
            continue
        if issubclass(kind, StrEnum):
            return {"enum": [member.value for member in kind]}
        if issubclass(kind, timedelta):
            return {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$"}
        if issubclass(kind, bool):
            return {"type": "boolean"}
        if issubclass(kind, int):
            return {"type": "integer"}
    return {"type": "string"}


if __name__ == "__main__":
    main()
