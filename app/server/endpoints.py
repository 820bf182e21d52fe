"""HTTP endpoints declared once: what they take and answer, from which the routes and the OpenAPI document both come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic.json_schema import models_json_schema

from headrace.app.problems import PROBLEM, problem

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
M = TypeVar("M", bound=BaseModel)
Answer = Sequence[type[BaseModel] | str]
"""What a body may be: the model of a JSON document, or the media type of something else. Empty: there is none."""

JSON = "application/json"
BODY_S = 30.0
"""How long a body may take to come."""
REFERENCES = "#/components/schemas/{model}"
PROBLEMS = {
    400: "The request is not what this endpoint takes.",
    401: "The token is missing or wrong.",
    403: "The request comes from a page of another site.",
    404: "There is nothing of that name.",
    408: "The body does not come.",
    409: "It does not fit what is there.",
    413: "The request is too large.",
    415: "The body is not application/json.",
    422: "The SQL, or a value, is wrong.",
    429: "Too many requests.",
    503: "Kafka, or a worker, does not answer.",
}
ALWAYS = (400, 401, 403, 429)
"""What any endpoint may answer."""
OF_BODY = (408, 413, 415, 422)


class HttpProblem(Exception):  # noqa: N818 (what RFC 9457 calls it)
    """An answer that is an RFC 9457 problem document, with members of its own beside the standard ones."""

    def __init__(self, status: int, detail: str, **members: object) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.members = members

    def response(self) -> web.Response:
        return problem(self.status, self.detail, **self.members)


class ProblemDocument(BaseModel):
    """RFC 9457: why a request was not answered."""

    type: str
    title: str
    status: int
    detail: str


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path."""

    method: str
    path: str
    summary: str
    handler: Handler
    answers: Mapping[int, Answer]
    """By status."""
    problems: Sequence[int] = ()
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    path_patterns: Mapping[str, str] = field(default_factory=dict)


def routes(endpoints: Sequence[Endpoint]) -> list[web.RouteDef]:
    return [web.route(each.method, each.path, each.handler) for each in endpoints]


def answer(document: BaseModel, status: int = 200) -> web.Response:
    return web.Response(status=status, body=document.model_dump_json().encode(), content_type=JSON)


def read_query(request: web.Request, model: type[M]) -> M:
    """The parameters of the query string. HttpProblem 400 with all that is wrong."""
    doubled = [name for name in request.query if len(request.query.getall(name)) > 1]
    if doubled:
        raise HttpProblem(400, f"given more than once: {', '.join(sorted(set(doubled)))}")
    return _validated(model, dict(request.query), 400)


async def read_body(request: web.Request, model: type[M]) -> M:
    """The JSON document of the body.

    HttpProblem 400 where it is none, 408 where it takes too long, 415 for another type, 422 where it is wrong.
    """
    if request.content_type != JSON:
        raise HttpProblem(415, f"the body is {request.content_type}; send {JSON}")
    try:
        async with asyncio.timeout(BODY_S):
            document = orjson.loads(await request.read())
    except TimeoutError:
        raise HttpProblem(408, f"the body did not come within {BODY_S:.0f} s") from None
    except orjson.JSONDecodeError as error:
        raise HttpProblem(400, f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise HttpProblem(422, "the body is not a JSON object")
    return _validated(model, document, 422)


def _validated(model: type[M], values: Mapping[str, Any], status: int) -> M:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [
            {"place": ".".join(map(str, each["loc"])), "message": each["msg"].removeprefix("Value error, ")}
            for each in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        detail = "; ".join(f"{each['place']}: {each['message']}" for each in problems)
        raise HttpProblem(status, detail, errors=problems) from None


def openapi(
    title: str, version: str, endpoints: Sequence[Endpoint], secured_but: Collection[str] | None
) -> dict[str, Any]:
    """The OpenAPI 3.1 document. All paths but these want a token; None: none does."""
    models: set[type[BaseModel]] = {ProblemDocument, *(each.body for each in endpoints if each.body is not None)}
    models |= {of for each in endpoints for kinds in each.answers.values() for of in kinds if isinstance(of, type)}
    ordered = sorted(models, key=lambda model: model.__name__)
    _, definitions = models_json_schema([(model, "validation") for model in ordered], ref_template=REFERENCES)
    paths: dict[str, dict[str, Any]] = {}
    for each in endpoints:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each)
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": paths,
        "components": {"schemas": definitions.get("$defs", {})},
    }
    if secured_but is not None:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
        for path in paths.keys() & secured_but:
            for operation in paths[path].values():
                operation["security"] = []
    return document


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1, "pattern": pattern}}
        for name, pattern in endpoint.path_patterns.items()
    ]
    if endpoint.query is not None:
        schema = endpoint.query.model_json_schema(ref_template=REFERENCES)
        definitions = schema.get("$defs", {})
        for name, of in schema.get("properties", {}).items():
            inlined = (
                definitions[of["$ref"].rpartition("/")[2]] | {"default": of.get("default")} if "$ref" in of else of
            )
            parameters.append(
                {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": inlined}
            )
    statuses = dict.fromkeys((*ALWAYS, *endpoint.problems, *(OF_BODY if endpoint.body is not None else ())))
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": endpoint.handler.__name__,
        "parameters": parameters,
        "responses": {
            **{str(status): _answer(of) for status, of in endpoint.answers.items()},
            **{str(status): _problem(status) for status in statuses},
        },
    }
    if endpoint.body is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": _reference(endpoint.body)}}}
    return operation


def _answer(kinds: Answer) -> dict[str, Any]:
    content: dict[str, Any] = {}
    texts: list[str] = []
    for of in kinds:
        if isinstance(of, str):
            content[of] = {"schema": {"type": "string" if of.startswith("text/") else "object"}}
        else:
            content[JSON] = {"schema": _reference(of)}
            texts += (of.__doc__ or "").strip().split("\n")[:1]
    return {"description": " ".join(texts) or "Done.", **({"content": content} if content else {})}


def _problem(status: int) -> dict[str, Any]:
    return {"description": PROBLEMS[status], "content": {PROBLEM: {"schema": _reference(ProblemDocument)}}}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REFERENCES.format(model=model.__name__)}
