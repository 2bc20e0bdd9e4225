"""The description of the JSON interface as OpenAPI 3.1 has it, made from the classes of which the JSON is written.

The schemas are those of pydantic, with what `pipeline.core.plain` does to a field: another key, or none while it has
its default. Nothing else is ever in an answer (`additionalProperties`), so a client is told of each change.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from http import HTTPStatus
from typing import Any, get_args, get_type_hints

import orjson
from aiohttp import web
from anyio.to_thread import run_sync

from pipeline import __version__
from pipeline.jobs.status.tenant import Status
from pipeline.jobs.status.tenants import LeftStatus, Statuses
from pipeline.service.web.answers import JSON, PROBLEM, Problem, answer_of
from pipeline.service.web.routes import Parameter, Route

_PLACE = "#/components/schemas/{model}"
#: Problems that any address may have; and those of the ones that want a token.
_ALWAYS = {
    421: "The header Host names another host than this.",
    500: "A bug.",
    503: "The ledger cannot be read now.",
}
_TOKEN = {401: "The token is missing, or is not the one."}


def with_description(routes: Sequence[Route]) -> list[Route]:
    """These addresses, and one that describes all of them, itself too."""
    described = _Described(routes)
    return [*routes, described.route]


class _Described:
    """The description of some addresses. It is made when it is asked for: most services are never asked."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.route = Route("/openapi.json", self._answer, "This description.", {200: None})
        self._routes = [*routes, self.route]
        self._body: bytes | None = None

    async def _answer(self, _: web.Request) -> web.Response:
        if self._body is None:
            self._body = orjson.dumps(await run_sync(description, self._routes))
        return answer_of(self._body)


def description(routes: Sequence[Route]) -> dict[str, Any]:
    """The description of these addresses."""
    kinds = {kind for route in routes for kind in route.answers.values() if kind is not None}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "profile-pipeline",
            "version": __version__,
            "description": "What the service is doing. Nothing can be changed here.",
        },
        "paths": {route.path: {"get": _operation(route)} for route in routes},
        "components": {
            "schemas": _schemas({*kinds, Problem}),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "The token of [web] token_file."},
                "password": {"type": "http", "scheme": "basic", "description": "The token is the password."},
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    answers = {str(status): _answer(status, kind, route.media_types) for status, kind in route.answers.items()}
    problems = {**_ALWAYS, **({} if route.is_open else _TOKEN), **route.problems}
    for status, what in problems.items():
        media = {PROBLEM: {"schema": _reference(Problem)}}
        answers.setdefault(str(status), {"description": what, "content": {}})["content"].update(media)
    return {
        "summary": route.summary,
        "operationId": (route.path.strip("/").partition("/{")[0] or "overview").replace(".", "_")
        + ("_one" if "{" in route.path else ""),
        "parameters": [_parameter(each) for each in route.parameters],
        "responses": dict(sorted(answers.items())),
        "security": [{}] if route.is_open else [{"bearer": []}, {"password": []}, {}],
    }


def _answer(status: int, kind: Any, media_types: Sequence[str]) -> dict[str, Any]:
    content = {media: {"schema": _reference(kind)} if kind and media == JSON else {} for media in media_types}
    return {"description": HTTPStatus(status).phrase, "content": content}


def _parameter(each: Parameter) -> dict[str, Any]:
    return {
        "name": each.name,
        "in": "path" if each.is_in_path else "query",
        "required": each.is_in_path,
        "description": each.description,
        "schema": dict(each.schema),
    }


def _reference(kind: Any) -> dict[str, str]:
    return {"$ref": _PLACE.format(model=kind.__name__)}


def _schemas(kinds: set[Any]) -> dict[str, Any]:
    """By name the schema of each of these classes, and of those in them."""
    # Imported late, as the description is made late.
    from pydantic import TypeAdapter

    # A single tenant's status stands by itself, which no class says: see `_any_statuses`.
    asked = [
        *sorted(kinds - {Statuses}, key=lambda kind: kind.__name__),
        *([Status, LeftStatus] if Statuses in kinds else []),
    ]
    _, found = TypeAdapter.json_schemas(
        [(kind, "serialization", TypeAdapter(kind)) for kind in asked], ref_template=_PLACE
    )
    schemas: dict[str, Any] = found["$defs"]
    for kind in {inner for each in asked for inner in _classes_in(each)}:
        _write_as_plain(schemas[kind.__name__], kind)
    return schemas | ({"Statuses": _any_statuses(schemas["Status"])} if Statuses in kinds else {})


def _any_statuses(status: dict[str, Any]) -> dict[str, Any]:
    """`Statuses.as_json`: the status of the only tenant, or those of several."""
    left = {"without_route": {"type": "array", "items": _reference(LeftStatus)}}
    several = {"client_codes": {"type": "array", "items": _reference(Status)}}
    return {
        "description": "The status of the only client code; of several, a list.",
        "anyOf": [
            {**status, "properties": {**status["properties"], **left}},
            {
                "type": "object",
                "properties": {**several, **left},
                "required": ["client_codes"],
                "additionalProperties": False,
            },
        ],
    }


def _write_as_plain(schema: dict[str, Any], kind: Any) -> None:
    """Change the schema of a dataclass to what `plain` makes of it."""
    properties, required = {}, []
    for each in fields(kind):
        key = each.metadata.get("key") or each.name
        properties[key] = schema["properties"][each.name]
        if each.metadata.get("if_default", True):
            required.append(key)
    schema.update(properties=properties, required=required, additionalProperties=False)


def _classes_in(kind: Any) -> Iterator[Any]:
    """The dataclasses that a type is made of, at any depth."""
    if is_dataclass(kind):
        yield kind
        for of in get_type_hints(kind).values():
            yield from _classes_in(of)
    for argument in get_args(kind):
        yield from _classes_in(argument)
