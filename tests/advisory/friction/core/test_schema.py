"""The JSON Schema of rule files is generated, committed, and never refuses what the loader takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
import yaml

from advisory.friction.core import schema
from advisory.friction.core.steps import STEP_TYPES
from tests.advisory.friction.core.test_loader import REFUSED, WHOLE
from tests.advisory.friction.core.test_operators import NAMES, TYPES, good_operand, leaf_on
from tests.advisory.friction.core.test_steps import GOOD
from tests.advisory.friction.rulefile import refusal, rule, rulefile
from tests.shared import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

validator = jsonschema_rs.validator_for(schema.friction_rules())


def accepts(text: str) -> bool:
    return validator.is_valid(yaml.safe_load(text))


def test_the_committed_schema_is_the_generated_one() -> None:
    for name, text in schema.files().items():
        assert (PROJECT / "schema" / name).read_text("utf-8") == text, f"run python -m {schema.__name__}"


def test_the_command_writes_it(tmp_path: Path) -> None:
    schema.main(tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == set(schema.files())


def test_it_takes_the_shipped_file() -> None:
    jsonschema_rs.meta.validate(schema.friction_rules())
    assert accepts((PROJECT / "config" / "friction_rules.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("op", TYPES)
def test_it_takes_every_operator(op: str) -> None:
    kind = TYPES[op].split()[0]
    assert accepts(rulefile(leaf_on(NAMES[kind], op, good_operand(op, kind))))


@pytest.mark.parametrize("name", STEP_TYPES)
def test_it_takes_every_step(name: str) -> None:
    assert accepts(rulefile(rule(more=f"steps: [{{type: {name}, {GOOD[name]}}}]")))


# Faults that a schema can see in the parsed file.
VISIBLE = {
    "key_unknown", "key_missing", "schema_unknown", "advisory_not_true", "rule_id_invalid", "step_unknown",
    "missing_reason_absent", "operator_unknown",
}  # fmt: skip


def parsed(name: str) -> Any:
    old, new, _, _ = REFUSED[name]
    return yaml.safe_load(WHOLE.replace(old, new))


@pytest.mark.parametrize("name", [name for name, (*_, code) in REFUSED.items() if code in VISIBLE])
def test_it_refuses_what_it_can_see(name: str) -> None:
    old, new, _, _ = REFUSED[name]
    assert refusal(WHOLE.replace(old, new))
    assert not validator.is_valid(parsed(name))
