"""The gateway's OpenAPI document: one typed path for each system's predictions and outcomes, with a real example.

It is written in OpenAPI 3.0, for the Swagger UI that the swagger_ui_bundle wheel holds (4.15) reads no 3.1.
"""

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode

from contracts.system import Source, System
from services.gateway.catalogue import Catalogue
from services.gateway.items import PUBLISHED_AT, model_of
from services.gateway.outcomes import Outcome
from services.gateway.reviews import MOST, USUAL

VERSION = "3.0.3"
JSON = "application/json"
KEY = {"bearer": {"type": "http", "scheme": "bearer", "description": "the key that `flywheel key` prints"}}
ERRORS = {
    400: "The body is not JSON.",
    401: "The key is missing or wrong.",
    404: "There is no such system.",
    409: "The Idempotency-Key was used with another body.",
    413: "The body is too large.",
    415: "The Content-Type is not application/json.",
    422: "A value cannot be used; the error names the field.",
    429: "Too many requests a second; Retry-After says when to come again.",
    503: "Nothing can be answered now; Retry-After says when to come again.",
}
ERROR_SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "field"],
            "properties": {
                "code": {"type": "string", "example": "invalid_input"},
                "message": {"type": "string", "description": "one sentence"},
                "field": {"type": "string", "nullable": True, "example": "ads.0.bid"},
            },
        }
    },
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key and body are answered the same, once; the same key with another body is refused.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


LIMIT = {
    "name": "limit",
    "in": "query",
    "required": False,
    "description": "how many cases at most",
    "schema": {"type": "integer", "minimum": 1, "maximum": MOST, "default": USUAL},
}


class Document:
    """The document under construction: `base` is what FastAPI says of its own typed routes."""

    def __init__(self, base: Mapping[str, Any]) -> None:
        self.content: dict[str, Any] = {**copy.deepcopy(dict(base)), "openapi": VERSION}
        self.components = self.content.setdefault("components", {})
        self.schemas = self.components.setdefault("schemas", {})
        self._forget_fastapis_errors()
        self.schemas["Error"] = ERROR_SCHEMA
        self.components["securitySchemes"] = KEY

    def add_system(self, system: System) -> None:
        """The paths of a system, typed by its own models; with one for items where it has a catalogue."""
        self._add(f"/v1/systems/{system.name}/predictions", self._prediction(system))
        self._add(f"/v1/systems/{system.name}/outcomes", self._outcome(system))
        self._add(f"/v1/systems/{system.name}/reviews", self._reviews(system), "get")
        if (retrieval := system.model.retrieval) is not None:
            self._add(f"/v1/systems/{system.name}/items", self._item(system, retrieval.items))

    def _forget_fastapis_errors(self) -> None:
        """FastAPI declares a 422 of its own for every route with a parameter; none of ours gives it."""
        for name in ("HTTPValidationError", "ValidationError"):
            self.schemas.pop(name, None)
        for operations in self.content["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)

    def _add(self, path: str, operation: Mapping[str, Any], method: str = "post") -> None:
        self.content["paths"][path] = {method: operation}

    def _prediction(self, system: System) -> dict[str, Any]:
        request = self._reference(system.task.request, system.name, "validation")
        answer = _answer_schema(system, self._reference(system.task.response, system.name, "serialization"))
        return {
            **_operation(system, "prediction", system.requirements.goal, request, dict(system.task.example)),
            "parameters": [IDEMPOTENCY_KEY],
            "responses": _responses(200, "What the system predicts, and who predicted it", answer),
        }

    def _outcome(self, system: System) -> dict[str, Any]:
        body = self._reference(Outcome, system.name, "validation")
        accepted = {"type": "object", "properties": {"prediction_id": {"type": "string"}}}
        return {
            **_operation(system, "outcome", "What became of a prediction.", body, _outcome_example(system)),
            "responses": _responses(202, "The outcome is in the log", accepted),
        }

    def _item(self, system: System, items: Source) -> dict[str, Any]:
        body = self._reference(model_of(system), system.name, "validation")
        accepted = {"type": "object", "properties": {"item_id": {"type": "string"}}}
        return {
            **_operation(system, "item", f"One of the {items.name}, published or changed.", body, _item_example(items)),
            "responses": _responses(202, "The item is in the log, and stage one will find it", accepted),
        }

    def _reviews(self, system: System) -> dict[str, Any]:
        request = self._reference(system.task.request, system.name, "validation")
        result = self._reference(system.task.response, system.name, "serialization")
        refused = {str(code): _refused(code) for code in (401, 404, 422, 429, 503)}
        listed = {"description": "The newest cases", "content": {JSON: {"schema": _cases_schema(request, result)}}}
        return {
            "tags": [system.name],
            "operationId": f"{system.name}_reviews",
            "summary": "The predictions that wait for a person's label, the newest first.",
            "parameters": [LIMIT],
            "responses": {"200": listed, **refused},
        }

    def _reference(self, model: type[BaseModel], system: str, mode: JsonSchemaMode) -> dict[str, Any]:
        """A reference to a model's schema, named after its system too: two systems may both have an `Ad`."""
        prefix = f"{system}."
        schema = model.model_json_schema(ref_template=f"#/components/schemas/{prefix}{{model}}", mode=mode)
        for name, definition in schema.pop("$defs", {}).items():
            self.schemas[prefix + name] = definition
        self.schemas[prefix + model.__name__] = schema
        return {"$ref": f"#/components/schemas/{prefix}{model.__name__}"}


def document(base: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """The whole OpenAPI document, as JSON can hold it."""
    made = Document(base)
    for name in sorted(catalogue.ready):
        made.add_system(catalogue.ready[name])
    for path, operations in made.content["paths"].items():
        for operation in operations.values():
            if path.startswith("/v1/"):
                operation["security"] = [{"bearer": []}]
                operation["responses"] |= {"401": _refused(401), "404": _refused(404)}
    older: dict[str, Any] = in_3_0(made.content)
    return older


def in_3_0(node: Any) -> Any:
    """A 3.1 document's schemas in the words of 3.0: null, constants and exclusive bounds were said otherwise there."""
    if isinstance(node, list):
        return [in_3_0(each) for each in node]
    if not isinstance(node, dict):
        return node
    older = {name: in_3_0(value) for name, value in node.items()}
    return _bounds(_constant(_nullable(older)))


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    choices = schema.get("anyOf")
    if not isinstance(choices, list) or {"type": "null"} not in choices:
        return schema
    others = [choice for choice in choices if choice != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    one = others[0] if len(others) == 1 and "$ref" not in others[0] else {"anyOf": others}
    return {**rest, **one, "nullable": True}


def _constant(schema: dict[str, Any]) -> dict[str, Any]:
    if isinstance(schema.get("const"), (str, int, float)):
        return {**{name: value for name, value in schema.items() if name != "const"}, "enum": [schema["const"]]}
    return schema


def _bounds(schema: dict[str, Any]) -> dict[str, Any]:
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        value = schema.get(exclusive)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            schema = {**schema, bound: value, exclusive: True}
    return schema


def _operation(
    system: System, what: str, summary: str, schema: Mapping[str, Any], example: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "tags": [system.name],
        "operationId": f"{system.name}_{what}",
        "summary": summary,
        "requestBody": {"required": True, "content": {JSON: {"schema": schema, "example": example}}},
    }


def _answer_schema(system: System, result: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["prediction_id", "system", "model_version", "variant", "result", "degraded"],
        "properties": {
            "prediction_id": {"type": "string", "description": "names this answer in its outcomes"},
            "system": {"type": "string", "enum": [system.name]},
            "model_version": {"type": "string", "description": "the version that gave all scores of this answer"},
            "variant": {"type": "string", "enum": ["champion", "fallback"]},
            "result": result,
            "degraded": {"type": "array", "items": {"type": "string"}, "description": "what had to be replaced"},
        },
    }


def _cases_schema(request: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    case = {
        "prediction_id": {"type": "string", "description": "for the reviewer's outcome"},
        "at": {"type": "string", "format": "date-time"},
        "model_version": {"type": "string"},
        "request": request,
        "result": result,
    }
    cases = {"type": "array", "items": {"type": "object", "required": list(case), "properties": case}}
    return {"type": "object", "required": ["cases"], "properties": {"cases": cases}}


def _outcome_example(system: System) -> dict[str, Any]:
    item = {"item_id": "the item of the answer that is meant"} if system.task.item else {}
    return {"prediction_id": "0" * 32, **item, "label": 1.0, "occurred_at": "2026-01-01T12:00:00+00:00"}


def _item_example(items: Source) -> dict[str, Any]:
    values = {"string": "a word", "float": 1.5, "integer": 1}
    columns = {name: values[kind] for name, kind in items.columns.items()}
    return {items.id: "the item's own id", PUBLISHED_AT: "2026-01-01T12:00:00+00:00", **columns}


def _responses(status: int, description: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    refused = {str(code): _refused(code) for code in ERRORS}
    return {str(status): {"description": description, "content": {JSON: {"schema": schema}}}, **refused}


def _refused(status: int) -> dict[str, Any]:
    return {"description": ERRORS[status], "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}}
