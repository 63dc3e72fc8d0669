"""Rule files hide nothing: each trick of YAML is refused with its place."""

from __future__ import annotations

import pytest

from ecp_project.kernel.strict_yaml import StrictYamlError, load

pytestmark = pytest.mark.unit


def test_plain_yaml_is_read() -> None:
    assert load("a: 1\nb: [x, {c: true}]\nd: null\n") == {"a": 1, "b": ["x", {"c": True}], "d": None}
    assert load("") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "duplicate name 'a' .*line 2"),
        ("a: {b: 1, b: 2}", "duplicate name 'b'"),
        ("a: &x 1", "anchors"),
        ("a: &x [1]\nb: *x", "anchors"),
        ("a: *x", "aliases"),
        ("a: !!str 1", "tags"),
        ("a: ! 1", "tags"),
        ("!!python/object/apply:os.system [id]", "tags"),
        ("a: {<<: {b: 1}}", "merge"),
        ("1: a", "a name must be a string"),
        ("yes: a", "a name must be a string"),
        ("? [a]\n: b", "a name must be a string"),
        ("--- 1\n--- 2", "single document"),
        ("a: 2026-99-99", "month"),
        ("a: [", "flow"),
        ("[" * 5_000, "."),
    ],
)
def test_anything_hidden_or_doubtful_is_refused(text: str, message: str) -> None:
    with pytest.raises(StrictYamlError, match=message):
        load(text)
