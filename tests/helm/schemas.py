"""Writes tests/helm/schemas: strict JSON Schemas of the objects that the chart makes, for kubeconform.

`python -m tests.helm.schemas` (needs Go). They come from Kubernetes' own OpenAPI file and from the definitions of
the custom resources; `make kubernetes-test` checks that they are what these say.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import yaml

SCHEMAS = Path(__file__).with_name("schemas")
KUBERNETES = ("k8s.io/kubernetes@v1.37.2", "h1:A2VDEiObzkYqFTKhSsn0ZEb0RlLEXpHWj93gi2HqEwE=")
KINDS = {
    *(
        "v1/ConfigMap",
        "v1/Pod",
        "v1/Service",
        "v1/ServiceAccount",
        "apps/v1/StatefulSet",
        "policy/v1/PodDisruptionBudget",
    ),
    *("networking.k8s.io/v1/NetworkPolicy", "autoscaling/v2/HorizontalPodAutoscaler"),
}
CUSTOM_RESOURCES = {
    (
        "github.com/prometheus-operator/prometheus-operator@v0.85.0",
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
    ): [
        f"example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml"
        for kind in ("servicemonitors", "prometheusrules")
    ],
    ("github.com/kedacore/keda/v2@v2.21.0", "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps="): [
        f"config/crd/bases/keda.sh_{kind}.yaml" for kind in ("scaledobjects", "triggerauthentications")
    ],
}
INT_OR_STRING = {"oneOf": [{"type": "string"}, {"type": "integer"}]}
SCALARS = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": INT_OR_STRING,
}
# They say nothing about what is valid.
IGNORED = {"description", "default"}


def main() -> None:
    SCHEMAS.mkdir(exist_ok=True)
    for name, schema in schemas().items():
        (SCHEMAS / name).write_text(schema, encoding="utf-8")


def schemas() -> dict[str, str]:
    """The content of each file."""
    made = dict([*_of_kubernetes(), *_of_custom_resources()])
    return {name: json.dumps(schema, sort_keys=True, separators=(",", ":")) + "\n" for name, schema in made.items()}


def custom_resources() -> Iterator[Path]:
    """The files that define the custom resources."""
    for module, files in CUSTOM_RESOURCES.items():
        for file in files:
            yield source(*module) / file


def source(module: str, checksum: str) -> Path:
    """The folder with the source of `path@version`, which must have the checksum; Go fetches it once."""
    found = subprocess.run(["go", "mod", "download", "-json", module], capture_output=True, text=True, check=True)
    about = json.loads(found.stdout)
    assert about["Sum"] == checksum, f"{module} is not what it was: {about['Sum']}"
    return Path(about["Dir"])


def _of_kubernetes() -> Iterator[tuple[str, object]]:
    text = (source(*KUBERNETES) / "api" / "openapi-spec" / "swagger.json").read_text(encoding="utf-8")
    definitions = json.loads(text)["definitions"]
    for definition in definitions.values():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            if "/".join(filter(None, (kind["group"], kind["version"], kind["kind"]))) in KINDS:
                used = _strict(definition)
                assert isinstance(used, dict)
                names = _referred(definition, definitions, set())
                parts = {name: SCALARS.get(name) or _strict(definitions[name]) for name in names}
                yield _file(kind["group"], kind["version"], kind["kind"]), used | {"definitions": parts}


def _of_custom_resources() -> Iterator[tuple[str, object]]:
    for path in custom_resources():
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))["spec"]
        for version in spec["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            schema["properties"]["metadata"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
            yield _file(spec["group"], version["name"], spec["names"]["kind"]), _strict(schema)


def _file(group: str, version: str, kind: str) -> str:
    """As kubeconform looks for it."""
    return "-".join(filter(None, (kind.lower(), group.split(".")[0], version))) + ".json"


def _strict(schema: object) -> object:
    """The schema with every field that it does not name forbidden."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return INT_OR_STRING
    strict = {key: _strict(value) for key, value in schema.items() if key not in IGNORED and not key.startswith("x-")}
    fields = schema.get("properties")
    if isinstance(fields, dict):
        strict["properties"] = {field: _strict(value) for field, value in fields.items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            strict.setdefault("additionalProperties", False)
    return strict


def _referred(schema: object, definitions: dict[str, object], found: set[str]) -> set[str]:
    """Names of all definitions that it needs, added to those found."""
    for value in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        if isinstance(value, str) and value.startswith("#/definitions/"):
            name = value.removeprefix("#/definitions/")
            if name not in found:
                found.add(name)
                _referred(definitions[name], definitions, found)
        else:
            _referred(value, definitions, found)
    return found


if __name__ == "__main__":
    main()
