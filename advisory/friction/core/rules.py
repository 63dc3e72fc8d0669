"""Rule sets `ecp.friction/1`: the checked and compiled form of a rule file (FRICTION 2).

`load_ruleset` reads a file, or raises `RuleSetInvalid` with every problem that it found, at most 50, sorted
by line. Nothing is defaulted from outside the file: id, version and hash of a rule set come from its bytes.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from datetime import MAXYEAR, datetime, timedelta
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from advisory.friction.core.conditions import (
    OPERATORS,
    WITHOUT_OPERAND,
    Condition,
    Node,
    OperandError,
    compiled,
    leaf,
)
from advisory.friction.core.document import REFUSED, Document, RuleProblem, read_document
from advisory.friction.core.sources import default_source, is_source
from advisory.friction.core.steps import STEP_TYPES, step_fault
from advisory.friction.core.templates import Template, TemplateError, parsed_template
from advisory.friction.core.values import FactType, Field, comparable, instant
from ecp_project.kernel import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping

    from advisory.friction.core.document import Path
    from advisory.friction.core.steps import Step

SCHEMA = "ecp.friction/1"
LEVELS = ("low", "medium", "high")
MODES = ("draft", "shadow", "active", "retired")
MOST_RULES = 500
MOST_FIELDS = 200
MOST_DEPTH = 8
MOST_LEAVES = 64
MOST_PARTS = 64
MOST_STEPS = 20
MOST_PROBLEMS = 50
MOST_POINTS = 100
MOST_CAP = 1_000
MOST_TEXT = 2_000
MOST_TITLE = 200

ID_PATTERN = r"[a-z0-9][a-z0-9-]{1,63}"
RULE_ID_PATTERN = r"[A-Z]{2,5}-[0-9]{3,4}"
FIELD_PATTERN = r"[A-Za-z0-9_-]{1,64}(?:\.[A-Za-z0-9_-]{1,64}){0,7}"

FILE_KEYS = (
    "schema", "id", "version", "title", "description", "mode", "effective_from", "timezone", "advisory",
    "fields", "scoring", "levels", "rules",
)  # fmt: skip
FIELD_KEYS = ("type", "from", "values", "min", "max", "unit", "title", "sensitive")
RULE_KEYS = ("id", "title", "reason", "when", "points")
RULE_OPTIONS = (
    "steps", "floor", "on_missing", "missing_reason", "enabled", "owner", "tags", "references",
    "valid_until", "review_by",
)  # fmt: skip


class RuleSetInvalid(ValueError):
    """The file is no rule set; `problems` says why, sorted by line."""

    def __init__(self, problems: list[RuleProblem]) -> None:
        first = problems[0]
        super().__init__(f"line {first.line}: {first.code}: {first.message}")
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, ready to run. `fields` are those that its condition or its templates read."""

    id: str
    title: str
    reason: Template
    condition: Condition
    node: Node
    points: int
    steps: tuple[Step, ...]
    floor: int | None
    missing_reason: Template | None
    enabled: bool
    expires_at: datetime | None
    review_at: datetime | None
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """A whole rule file. `document` is its plain value, whose canonical bytes have the hash."""

    id: str
    version: int
    title: str
    mode: str
    effective_from: datetime
    zone: ZoneInfo
    cap: int
    bands: tuple[int, int, int]
    fields: Mapping[str, Field]
    levels: tuple[tuple[Step, ...], ...]
    rules: tuple[Rule, ...]
    document: Mapping[str, Any]
    hash: str
    places: Mapping[Path, tuple[int, int]]

    def band(self, score: int) -> int:
        """Index of the highest level whose bound the score reaches."""
        return bisect_right(self.bands, score) - 1

    def read_fields(self, at: datetime) -> tuple[Field, ...]:
        """Declared fields that a rule in force at this time reads, in the order of their declaration."""
        read = {name for rule in self.rules if in_force(rule, at) for name in rule.fields}
        return tuple(field for name, field in self.fields.items() if name in read)


def in_force(rule: Rule, at: datetime) -> bool:
    return rule.enabled and (rule.expires_at is None or at < rule.expires_at)


def document_hash(document: Mapping[str, Any]) -> str:
    """`sha256:` over the RFC 8785 bytes of the parsed file: comments and key order do not count."""
    return f"sha256:{sha256(canonical.encode_any(document)).hexdigest()}"


def load_ruleset(source: str | bytes) -> RuleSet:
    document = read_document(source)
    ruleset = None if document.value is None and document.noted else _Loader(document).ruleset()
    if ruleset is None:
        raise RuleSetInvalid(document.problems(MOST_PROBLEMS))
    return ruleset


@cache
def zone_names() -> frozenset[str]:
    """Names of the IANA data that we ship, so that a file means the same on every machine."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


_is_id = re.compile(ID_PATTERN).fullmatch
_is_rule_id = re.compile(RULE_ID_PATTERN).fullmatch
_is_field = re.compile(FIELD_PATTERN).fullmatch
_is_date = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch


class _Loader:
    """Checks one document from the top down; every fault is noted where it stands, and the rest goes on."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.fields: dict[str, Field] = {}
        self.zone = ZoneInfo("UTC")
        self.rule_ids: set[str] = set()

    # --- the file

    def ruleset(self) -> RuleSet | None:
        top = self.document.value
        if type(top) is not dict:
            self._refuse("value_invalid", "the file must hold one mapping", (), top)
            return None
        self._keys(top, FILE_KEYS, (), ())
        self._one_of(top, "schema", (SCHEMA,), code="schema_unknown")
        if top.get("advisory", True) is not True:
            self._refuse(
                "advisory_not_true", "advice never blocks: write true", ("advisory",), top["advisory"]
            )
        self._match(top, "id", _is_id, "lower-case letters, digits and hyphens, 2 to 64")
        self._whole(top, "version", 1, canonical.MAX_SAFE_INTEGER)
        self._text(top, "title", 1, MOST_TITLE, ())
        self._text(top, "description", 0, MOST_TEXT, ())
        self._one_of(top, "mode", MODES)
        effective_from = self._instant(top, "effective_from")
        self._zone(top)
        self._declare(top.get("fields"))
        cap, bands = self._scoring(top.get("scoring"))
        levels = self._levels(top.get("levels"))
        rules = self._rules(top.get("rules"))
        if self.document.noted:
            return None
        assert effective_from is not None
        return RuleSet(
            id=top["id"], version=top["version"], title=top["title"], mode=top["mode"],
            effective_from=effective_from, zone=self.zone, cap=cap, bands=bands, fields=self.fields,
            levels=levels, rules=rules, document=top, hash=document_hash(top), places=self.document.places,
        )  # fmt: skip

    def _zone(self, top: dict[str, Any]) -> None:
        name = top.get("timezone", "UTC")
        if name is REFUSED:
            return
        if type(name) is str and name in zone_names():
            self.zone = ZoneInfo(name)
        else:
            self._refuse("timezone_unknown", "no time zone of the IANA database", ("timezone",), name)

    def _scoring(self, scoring: Any) -> tuple[int, tuple[int, int, int]]:
        path: Path = ("scoring",)
        if not self._mapping(scoring, ("method", "cap", "bands"), (), path):
            return 0, (0, 0, 0)
        if scoring.get("method", "sum") != "sum":
            self._refuse("value_invalid", "the only method is sum", (*path, "method"), scoring["method"])
        cap = scoring.get("cap")
        if "cap" in scoring and not _is_whole(cap, 1, MOST_CAP):
            self._refuse("value_invalid", f"a whole number from 1 to {MOST_CAP}", (*path, "cap"), cap)
            cap = MOST_CAP
        bands = scoring.get("bands")
        at = (*path, "bands")
        if "bands" not in scoring or not self._mapping(bands, LEVELS, (), at, code="bands_invalid"):
            return cap or 0, (0, 0, 0)
        low, medium, high = (bands.get(level) for level in LEVELS)
        if REFUSED in (low, medium, high) or not all(level in bands for level in LEVELS):
            return cap or 0, (0, 0, 0)
        whole = all(type(bound) is int for bound in (low, medium, high))
        if not whole or not (low == 0 < medium < high <= (cap or MOST_CAP)):
            self._refuse("bands_invalid", "bands must be low: 0 < medium < high <= cap", at)
        return cap or 0, (low, medium, high)

    def _levels(self, levels: Any) -> tuple[tuple[Step, ...], ...]:
        if not self._mapping(levels, LEVELS, (), ("levels",)):
            return ()
        found = []
        for name in LEVELS:
            level, path = levels.get(name), ("levels", name)
            if name in levels and self._mapping(level, ("steps",), (), path):
                found.append(self._steps(level.get("steps", []), (*path, "steps")))
        return tuple(found)

    # --- fields

    def _declare(self, fields: Any) -> None:
        if fields is None or not self._is(dict, fields, ("fields",)):
            return
        if len(fields) > MOST_FIELDS:
            message = f"{len(fields)} fields, at most {MOST_FIELDS} are allowed"
            self._refuse("too_many_fields", message, ("fields",))
            return
        for name, spec in fields.items():
            path = ("fields", name)
            if _is_field(name) is None:
                self._refuse("value_invalid", "a field is named by letters, digits, _ and -, with dots", path)
            field = self._field(name, spec, path)
            if field is not None:
                self.fields[name] = field

    def _field(self, name: str, spec: Any, path: Path) -> Field | None:
        if not self._mapping(spec, ("type",), FIELD_KEYS[1:], path):
            return None
        kinds = {kind.value: kind for kind in FactType}
        kind = kinds.get(spec["type"]) if type(spec.get("type")) is str else None
        if kind is None:
            if "type" in spec:
                self._refuse("value_invalid", f"one of {', '.join(kinds)}", (*path, "type"), spec["type"])
            return None
        source = spec.get("from", default_source(name))
        if "from" in spec and not (type(source) is str and is_source(source)):
            message = "body:/action, body:/context/..., history:<name>, ledger:zone or clock:evaluated_at"
            self._refuse("source_unknown", message, (*path, "from"), source)
        for text in ("unit", "title"):
            self._text(spec, text, 1, MOST_TITLE, path)
        if type(spec.get("sensitive", False)) is not bool:
            self._refuse("value_invalid", "true or false", (*path, "sensitive"), spec["sensitive"])
        values = self._values(kind, spec, path)
        least, most = (self._limit(kind, spec, name, path) for name in ("min", "max"))
        if least is not None and most is not None and least > most:
            self._refuse("value_invalid", "min must not be above max", (*path, "min"))
        return Field(
            name, kind, source, values, least, most, spec.get("sensitive") is True,
            spec.get("title", ""), spec.get("unit", ""),
        )  # fmt: skip

    def _values(self, kind: FactType, spec: dict[str, Any], path: Path) -> frozenset[Any] | None:
        if "values" not in spec:
            return None
        values, at = spec["values"], (*path, "values")
        item = FactType.STRING if kind is FactType.LIST else kind
        if item in (FactType.BOOLEAN, FactType.TIMESTAMP):
            self._refuse("value_invalid", f"a {kind.value} has no list of values", at, values)
            return None
        if type(values) is not list or not values or any(comparable(item, value) is None for value in values):
            if not (type(values) is list and REFUSED in values):
                self._refuse("value_invalid", f"a non-empty list of {item.value} values", at, values)
            return None
        return frozenset(comparable(item, value) for value in values)

    def _limit(self, kind: FactType, spec: dict[str, Any], name: str, path: Path) -> int | None:
        if name not in spec:
            return None
        bound = comparable(kind, spec[name]) if kind in (FactType.INTEGER, FactType.NUMBER) else None
        if bound is None:
            self._refuse("value_invalid", f"a number, for a field that is one, not {kind.value}",
                         (*path, name), spec[name])  # fmt: skip
        return bound

    # --- rules

    def _rules(self, rules: Any) -> tuple[Rule, ...]:
        if rules is None or not self._is(list, rules, ("rules",)):
            return ()
        if len(rules) > MOST_RULES:
            self._refuse(
                "too_many_rules", f"{len(rules)} rules, at most {MOST_RULES} are allowed", ("rules",)
            )
            return ()
        found = (self._rule(rule, ("rules", index)) for index, rule in enumerate(rules))
        return tuple(rule for rule in found if rule is not None)

    def _rule(self, rule: Any, path: Path) -> Rule | None:
        if not self._mapping(rule, RULE_KEYS, RULE_OPTIONS, path):
            return None
        self._rule_id(rule, path)
        self._text(rule, "title", 1, MOST_TITLE, path)
        self._text(rule, "owner", 1, MOST_TITLE, path)
        for listed in ("tags", "references"):
            self._texts(rule, listed, path)
        points = rule.get("points", 0)
        if not _is_whole(points, -MOST_POINTS, MOST_POINTS):
            message = f"a whole number from -{MOST_POINTS} to {MOST_POINTS}"
            self._refuse("value_invalid", message, (*path, "points"), points)
        floor = rule.get("floor", "low")
        if floor not in LEVELS:
            self._refuse("value_invalid", f"one of {', '.join(LEVELS)}", (*path, "floor"), floor)
        if type(rule.get("enabled", True)) is not bool:
            self._refuse("value_invalid", "true or false", (*path, "enabled"), rule["enabled"])
        reason = self._template(rule, "reason", path)
        missing_reason = self._template(rule, "missing_reason", path)
        if rule.get("on_missing", "skip") not in ("skip", "fire"):
            self._refuse("value_invalid", "skip or fire", (*path, "on_missing"), rule["on_missing"])
        fires = rule.get("on_missing") == "fire"
        if fires and "missing_reason" not in rule:
            message = "a rule that fires on missing facts needs a missing_reason"
            self._refuse("missing_reason_absent", message, (*path, "on_missing"))
        steps = self._steps(rule.get("steps", []), (*path, "steps"))
        expires_at, review_at = (self._end(rule, name, path) for name in ("valid_until", "review_by"))
        node = self._condition(rule, path)
        if self.document.noted or node is None or reason is None:
            return None
        condition = compiled(node)
        names = [one.field.name for one in condition.leaves]
        names += [*reason.fields, *(missing_reason.fields if missing_reason and fires else ())]
        return Rule(
            id=rule["id"], title=rule["title"], reason=reason, condition=condition, node=node, points=points,
            steps=steps, floor=LEVELS.index(floor) if "floor" in rule else None,
            missing_reason=missing_reason if fires else None, enabled=rule.get("enabled", True),
            expires_at=expires_at, review_at=review_at, fields=tuple(dict.fromkeys(names)),
        )  # fmt: skip

    def _rule_id(self, rule: dict[str, Any], path: Path) -> None:
        if "id" not in rule:
            return
        name, at = rule["id"], (*path, "id")
        if type(name) is not str or _is_rule_id(name) is None:
            self._refuse("rule_id_invalid", "2 to 5 capitals, a hyphen, 3 or 4 digits: PAY-100", at, name)
        elif name in self.rule_ids:
            self._refuse("rule_id_duplicate", f"{name} names an earlier rule", at)
        else:
            self.rule_ids.add(name)

    def _template(self, rule: dict[str, Any], name: str, path: Path) -> Template | None:
        if not self._text(rule, name, 1, MOST_TEXT, path) or name not in rule:
            return None
        try:
            return parsed_template(rule[name], self.fields)
        except TemplateError as error:
            self._refuse("placeholder_unknown", str(error), (*path, name))
            return None

    def _steps(self, steps: Any, path: Path) -> tuple[Step, ...]:
        if not self._is(list, steps, path):
            return ()
        if len(steps) > MOST_STEPS:
            self._refuse("step_invalid", f"{len(steps)} steps, at most {MOST_STEPS} are allowed", path)
            return ()
        for index, step in enumerate(steps):
            at = (*path, index)
            if type(step) is not dict or "type" not in step:
                self._refuse("step_invalid", "a step is a mapping with a type", at, step)
            elif type(step["type"]) is not str or step["type"] not in STEP_TYPES:
                message = f"no such step; one of {', '.join(STEP_TYPES)}"
                self._refuse("step_unknown", message, (*at, "type"), step["type"])
            elif REFUSED not in step.values() and (fault := step_fault(step)) is not None:
                self._refuse("step_invalid", fault, at)
        return tuple(steps)

    def _condition(self, rule: dict[str, Any], path: Path) -> Node | None:
        if "when" not in rule:
            return None
        at = (*path, "when")
        leaves: list[Node] = []
        node = self._node(rule["when"], at, 1, leaves)
        if len(leaves) > MOST_LEAVES:
            self._refuse("too_many_leaves", f"{len(leaves)} comparisons, at most {MOST_LEAVES}", at)
            return None
        return node

    def _node(self, value: Any, path: Path, depth: int, leaves: list[Node]) -> Node | None:
        if depth > MOST_DEPTH:
            self._refuse("too_deep", f"a condition has at most {MOST_DEPTH} levels", path)
            return None
        if not self._is(dict, value, path):
            return None
        kind = next((name for name in ("all", "any", "not") if name in value), None)
        if kind is None:
            return self._leaf(value, path, leaves)
        self._keys(value, (kind,), (), path)
        at = (*path, kind)
        if kind == "not":
            part = self._node(value["not"], at, depth + 1, leaves)
            return Node("not", (part,)) if part is not None else None
        parts = value[kind]
        if type(parts) is not list or not 1 <= len(parts) <= MOST_PARTS:
            self._refuse("value_invalid", f"{kind} takes a list of 1 to {MOST_PARTS} conditions", at, parts)
            return None
        nodes = [self._node(part, (*at, index), depth + 1, leaves) for index, part in enumerate(parts)]
        found = tuple(node for node in nodes if node is not None)
        return Node("all" if kind == "all" else "any", found) if len(found) == len(nodes) else None

    def _leaf(self, value: dict[str, Any], path: Path, leaves: list[Node]) -> Node | None:
        op = value.get("op")
        bare = type(op) is str and op in WITHOUT_OPERAND
        before = len(self.document.noted)
        self._keys(value, ("field", "op") if bare else ("field", "op", "value"), (), path)
        if len(self.document.noted) > before or REFUSED in value.values():
            return None
        field = self.fields.get(value["field"]) if type(value["field"]) is str else None
        if field is None:
            if value["field"] not in self._declared_names():
                self._refuse("field_undeclared", f"{value['field']} is not among fields", (*path, "field"))
            return None
        if type(op) is not str or op not in OPERATORS:
            self._refuse("operator_unknown", f"one of {', '.join(OPERATORS)}", (*path, "op"))
            return None
        if field.type not in OPERATORS[op]:
            self._refuse("operator_type", f"{op} does not work on {field.type.value}", (*path, "op"))
            return None
        try:
            found = Node("leaf", leaf=leaf(field=field, op=op, value=value.get("value"), zone=self.zone))
        except OperandError as error:
            self._refuse(error.code, str(error), (*path, "value"))
            return None
        leaves.append(found)
        return found

    def _declared_names(self) -> list[Any]:
        """Names that stand under `fields`, also of fields that were refused: those are told once only."""
        fields = self.document.value.get("fields")
        return list(fields) if type(fields) is dict else []

    # --- small checks

    def _refuse(self, code: str, message: str, path: Path, value: Any = None) -> None:
        if value is not REFUSED:
            self.document.refuse(code, message, path)

    def _is(self, kind: type, value: Any, path: Path) -> bool:
        if type(value) is kind:
            return True
        self._refuse(
            "value_invalid", "a mapping is needed" if kind is dict else "a list is needed", path, value
        )
        return False

    def _mapping(
        self, value: Any, required: tuple[str, ...], optional: tuple[str, ...], path: Path,
        *, code: str = "value_invalid",
    ) -> bool:  # fmt: skip
        if type(value) is not dict:
            if value is not None or path in self.document.places:
                self._refuse(code, "a mapping is needed", path, value)
            return False
        self._keys(value, required, optional, path)
        return True

    def _keys(
        self, value: dict[str, Any], required: tuple[str, ...], optional: tuple[str, ...], path: Path
    ) -> None:
        for name in value:
            if name not in required and name not in optional:
                known = ", ".join((*required, *optional))
                self._refuse("key_unknown", f"{name} is not known here; known are {known}", (*path, name))
        for name in required:
            if name not in value and path not in self.document.blurred:
                self._refuse("key_missing", f"{name} is missing", path)

    def _match(self, top: dict[str, Any], name: str, fits: Any, rule: str) -> None:
        value = top.get(name, REFUSED)
        if type(value) is not str or fits(value) is None:
            self._refuse("value_invalid", rule, (name,), value)

    def _one_of(
        self, top: dict[str, Any], name: str, known: tuple[str, ...], *, code: str = "value_invalid"
    ) -> None:
        value = top.get(name, REFUSED)
        if value not in known:
            self._refuse(code, f"one of {', '.join(known)}", (name,), value)

    def _whole(self, top: dict[str, Any], name: str, least: int, most: int) -> None:
        value = top.get(name, REFUSED)
        if not _is_whole(value, least, most):
            self._refuse("value_invalid", f"a whole number, at least {least}", (name,), value)

    def _text(self, value: dict[str, Any], name: str, least: int, most: int, path: Path) -> bool:
        text = value.get(name, REFUSED)
        if type(text) is str and least <= len(text) <= most:
            return True
        self._refuse("value_invalid", f"a text of {least} to {most} characters", (*path, name), text)
        return False

    def _texts(self, value: dict[str, Any], name: str, path: Path) -> None:
        items = value.get(name, [])
        fits = type(items) is list and all(
            type(item) is str and 0 < len(item) <= MOST_TITLE for item in items
        )
        if not fits and not (type(items) is list and REFUSED in items):
            self._refuse("value_invalid", "a list of texts", (*path, name), items)

    def _instant(self, value: dict[str, Any], name: str) -> datetime | None:
        if name not in value:
            return None
        found = instant(value[name])
        if found is None:
            message = 'a quoted time with seconds and zone: "2026-01-01T00:00:00Z"'
            self._refuse("value_invalid", message, (name,), value[name])
        return found

    def _end(self, rule: dict[str, Any], name: str, path: Path) -> datetime | None:
        """First instant after a date, in the time zone of the rule set, or after an instant."""
        if name not in rule:
            return None
        text = rule[name]
        if type(text) is str and _is_date(text):
            try:
                return datetime.fromisoformat(text).replace(tzinfo=self.zone) + timedelta(days=1)
            except (ValueError, OverflowError):
                pass
        elif (found := instant(text)) is not None:
            return found + timedelta(microseconds=1) if found.year < MAXYEAR else found
        self._refuse("value_invalid", 'a quoted date "2026-12-31", or a time with seconds and zone',
                     (*path, name), text)  # fmt: skip
        return None


def _is_whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most
