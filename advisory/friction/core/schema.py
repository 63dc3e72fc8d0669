"""JSON Schema of rule files, from the tables that the loader uses.

`python -m advisory.friction.core.schema [FOLDER]` writes it, without a folder into `schema/`. An editor that
knows it helps while writing; what a schema cannot say (operand against type, declared fields, places) the
loader says.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from advisory.friction.core import rules
from advisory.friction.core.conditions import OPERATORS, WITHOUT_OPERAND
from advisory.friction.core.steps import MOST, MOST_NAMES
from advisory.friction.core.values import FactType

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FOLDER = Path(__file__).resolve().parents[3] / "schema"

Schema = dict[str, Any]

_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 64}
_NAMES: Schema = {"type": "array", "items": _NAME, "minItems": 1, "maxItems": MOST_NAMES}


def _text(least: int, most: int) -> Schema:
    return {"type": "string", "minLength": least, "maxLength": most}


def _whole(least: int, most: int) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


def _mapping(required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    return {
        "type": "object",
        "properties": required | (optional or {}),
        "required": list(required),
        "additionalProperties": False,
    }


def _step(name: str, required: dict[str, Schema], optional: dict[str, Schema] | None = None) -> Schema:
    return _mapping({"type": {"const": name}, **required}, optional)


def _steps() -> list[Schema]:
    minutes = {"minutes": _whole(1, MOST)}
    poll: dict[str, Schema] = {"deadline_minutes": _whole(1, MOST)}
    return [
        _step("extra_documentation", {"documents": _NAMES}),
        _step("rehearsal", {"environment": _NAME}),
        _step(
            "second_review", {"count": _whole(1, 9), "role": _NAME}, {"not_same_owner": {"type": "boolean"}}
        ),
        _step("poll", {"sample_size": _whole(1, MOST), **poll}, {"frame": _NAME}),
        _step("poll", {"sample_pct": _whole(1, 100), **poll}, {"frame": _NAME}),
        _step("delay", minutes),
        _step("cooling_off", minutes),
        _step("staged_rollout", {"max_share_pct": _whole(1, 100)}),
        _step("notify", {"to": _NAMES, "within_minutes": _whole(1, MOST)}),
    ]


def _conditions() -> dict[str, Schema]:
    part: Schema = {"$ref": "#/$defs/condition"}
    parts: Schema = {"type": "array", "items": part, "minItems": 1, "maxItems": rules.MOST_PARTS}
    valued = [op for op in OPERATORS if op not in WITHOUT_OPERAND]
    field: Schema = {"type": "string"}
    operand: Schema = {"type": ["string", "integer", "boolean", "array"]}
    return {
        "condition": {
            "oneOf": [
                _mapping({"all": parts}),
                _mapping({"any": parts}),
                _mapping({"not": part}),
                _mapping({"field": field, "op": {"enum": valued}, "value": operand}),
                _mapping({"field": field, "op": {"enum": sorted(WITHOUT_OPERAND)}}),
            ]
        }
    }


def _rule() -> Schema:
    texts: Schema = {"type": "array", "items": _text(1, rules.MOST_TITLE)}
    required: dict[str, Schema] = {
        "id": {"type": "string", "pattern": f"^{rules.RULE_ID_PATTERN}$"},
        "title": _text(1, rules.MOST_TITLE),
        "reason": _text(1, rules.MOST_TEXT),
        "when": {"$ref": "#/$defs/condition"},
        "points": _whole(-rules.MOST_POINTS, rules.MOST_POINTS),
    }
    optional: dict[str, Schema] = {
        "steps": {"$ref": "#/$defs/steps"},
        "floor": {"enum": list(rules.LEVELS)},
        "on_missing": {"enum": ["skip", "fire"]},
        "missing_reason": _text(1, rules.MOST_TEXT),
        "enabled": {"type": "boolean"},
        "owner": _text(1, rules.MOST_TITLE),
        "tags": texts,
        "references": texts,
        "valid_until": {"type": "string"},
        "review_by": {"type": "string"},
    }
    fires = {"properties": {"on_missing": {"const": "fire"}}, "required": ["on_missing"]}
    return _mapping(required, optional) | {"if": fires, "then": {"required": ["missing_reason"]}}


def _field() -> Schema:
    number: Schema = {"type": ["integer", "string"]}
    optional: dict[str, Schema] = {
        "from": {"type": "string"},
        "values": {"type": "array", "items": {"type": ["string", "integer"]}, "minItems": 1},
        "min": number,
        "max": number,
        "unit": _text(1, rules.MOST_TITLE),
        "title": _text(1, rules.MOST_TITLE),
        "sensitive": {"type": "boolean"},
    }
    return _mapping({"type": {"enum": [kind.value for kind in FactType]}}, optional)


def friction_rules() -> Schema:
    level = _mapping({"steps": {"$ref": "#/$defs/steps"}})
    bands: dict[str, Schema] = {
        "low": {"const": 0},
        "medium": _whole(1, rules.MOST_CAP),
        "high": _whole(1, rules.MOST_CAP),
    }
    members: dict[str, Schema] = {
        "schema": {"const": rules.SCHEMA},
        "id": {"type": "string", "pattern": f"^{rules.ID_PATTERN}$"},
        "version": {"type": "integer", "minimum": 1},
        "title": _text(1, rules.MOST_TITLE),
        "description": _text(0, rules.MOST_TEXT),
        "mode": {"enum": list(rules.MODES)},
        "effective_from": {"type": "string", "format": "date-time"},
        "timezone": {"type": "string"},
        "advisory": {"const": True},
        "fields": {
            "type": "object",
            "propertyNames": {"pattern": f"^{rules.FIELD_PATTERN}$"},
            "additionalProperties": {"$ref": "#/$defs/field"},
            "maxProperties": rules.MOST_FIELDS,
        },
        "scoring": _mapping(
            {"method": {"const": "sum"}, "cap": _whole(1, rules.MOST_CAP), "bands": _mapping(bands)}
        ),
        "levels": _mapping(dict.fromkeys(rules.LEVELS, level)),
        "rules": {"type": "array", "items": {"$ref": "#/$defs/rule"}, "maxItems": rules.MOST_RULES},
    }
    return {
        "$schema": DIALECT,
        "$id": "urn:ecp:schema:friction_rules",
        "title": "Friction rules",
        "description": "A rule file of the friction calculator. A schema cannot say all: operands must fit "
        "their fields, placeholders must be declared, and nothing unquoted may be a date, a fraction, yes or "
        "no.",
        **_mapping(members),
        "$defs": {
            "field": _field(),
            "rule": _rule(),
            "steps": {"type": "array", "items": {"oneOf": _steps()}, "maxItems": rules.MOST_STEPS},
            **_conditions(),
        },
    }


def files() -> dict[str, str]:
    """Give the text of each schema file by its name."""
    return {"friction_rules.json": json.dumps(friction_rules(), indent=2, ensure_ascii=False) + "\n"}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else FOLDER)
