"""Where settings come from, and in which order: flag, environment, file, default. All wrong ones are told at once."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from headrace.app.errors import UsageError
from headrace.app.settings import Settings
from headrace.sql.errors import did_you_mean

PREFIX = "HEADRACE_"
KAFKA = "kafka"
NOT_SETTINGS = re.compile(
    # Folders of the broker, the tests, and what Kubernetes puts into every pod beside a Service named `headrace…`.
    r"HEADRACE_(HOME|JARS|TEST_\w+|(\w+_)?SERVICE_(HOST|PORT)(_\w+)?|(\w+_)?PORT_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
SECRETS = (KAFKA, "http_token")
SERVICE_URL = re.compile(r"(tcp|udp|sctp)://.*")


class Layer(PydanticBaseSettingsSource):
    """The settings of one source. Values are found under `name` or, for a client property, `kafka.<property>`."""

    def __init__(self, values: Mapping[str, object], labels: Mapping[str, str]) -> None:
        super().__init__(Settings)
        self.labels = labels
        """How the source writes each name, for the user to find it again."""
        self.values = values

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002
        return self.values.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        settings = {name: value for name, value in self.values.items() if not name.startswith(f"{KAFKA}.")}
        properties = {
            name.removeprefix(f"{KAFKA}."): value for name, value in self.values.items() if name.startswith(f"{KAFKA}.")
        }
        return settings | ({KAFKA: properties} if properties else {})


def load_settings(
    flags: Mapping[str, object],
    assignments: Sequence[str] = (),
    config: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """The settings of this run. `flags` are dedicated flags by setting name (None: not given), `assignments` are the
    texts of `--set`. Raises UsageError naming everything that is wrong, each with its source.
    """
    problems: list[str] = []
    layers = [
        _flags(flags),
        _assignments(assignments, problems),
        _environment(environ),
        *([_file(config)] if config else []),
    ]
    known_layers = [_known(layer, problems) for layer in layers]
    try:
        settings = Settings(_build_sources=(tuple(known_layers), {}))
    except ValidationError as error:
        raise UsageError("\n".join([*problems, *_explained(error, known_layers)])) from None
    if problems:
        raise UsageError("\n".join(problems))
    return settings


def settings_as_given(values: Mapping[str, object]) -> Settings:
    """Just these settings, whatever the environment holds: for a process that is told what another one found."""
    return Settings(_build_sources=((Layer(values, {}),), {}))


def _flags(flags: Mapping[str, object]) -> Layer:
    given = {name: value for name, value in flags.items() if value is not None}
    return Layer(given, {name: f"--{name.replace('_', '-')}" for name in given})


def _assignments(texts: Iterable[str], problems: list[str]) -> Layer:
    values: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if equals:
            values[name.strip()] = value.strip()
        else:
            problems.append(f"--set {text}: write --set key=value")
    return Layer(values, {name: f"--set {name}" for name in values})


def _environment(environ: Mapping[str, str]) -> Layer:
    """HEADRACE_LOG_LEVEL is log_level, HEADRACE_KAFKA_SASL_USERNAME is kafka.sasl.username."""
    values: dict[str, object] = {}
    labels: dict[str, str] = {}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or _is_of_others(variable, environ[variable]):
            continue
        name = variable.removeprefix(PREFIX).lower()
        if name.startswith(f"{KAFKA}_"):
            name = f"{KAFKA}.{name.removeprefix(f'{KAFKA}_').replace('_', '.')}"
        values[name] = environ[variable]
        labels[name] = f"environment variable {variable}"
    return Layer(values, labels)


def _is_of_others(variable: str, value: str) -> bool:
    is_service_url = variable.endswith("_PORT") and SERVICE_URL.fullmatch(value)
    return bool(NOT_SETTINGS.fullmatch(variable) or is_service_url)


def _file(path: Path) -> Layer:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path}: not a TOML file: {error}") from error
    values = dict(_flattened(content))
    return Layer(values, {name: f"{path}, {name}" for name in values})


def _flattened(content: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """A client property may be written as [kafka] "sasl.username" or as the nested tables kafka.sasl.username."""
    for name, value in content.items():
        if name == KAFKA and isinstance(value, dict):
            yield from _dotted(name, value)
        else:
            yield name, value


def _dotted(prefix: str, table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _dotted(f"{prefix}.{name}", value)
        else:
            yield f"{prefix}.{name}", value


def _known(layer: Layer, problems: list[str]) -> Layer:
    """The layer without the names that are no settings, which become problems."""
    known: dict[str, object] = {}
    for name, value in layer.values.items():
        if (name in Settings.model_fields and name != KAFKA) or re.fullmatch(rf"{KAFKA}\.[\w.-]+", name):
            known[name] = value
        else:
            hint = did_you_mean(
                name, [*(field for field in Settings.model_fields if field != KAFKA), "kafka.<property>"]
            )
            problems.append(f"{layer.labels[name]}: no such setting; {hint}")
    return Layer(known, layer.labels)


def _explained(error: ValidationError, layers: Sequence[Layer]) -> Iterator[str]:
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"][:2]) if problem["loc"][0] == KAFKA else problem["loc"][0]
        label = next((layer.labels[str(name)] for layer in layers if name in layer.values), str(name))
        text = problem["msg"].removeprefix("Value error, ")
        # What was given is shown, but for secrets: passwords are among the properties of the client.
        shown = "" if name in SECRETS else f"{problem['input']!r}: "
        yield f"{label}: {shown}{text}"
