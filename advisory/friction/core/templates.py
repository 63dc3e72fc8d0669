"""Reasons with placeholders: literal text and `{declared.field}`, expanded in one pass (FRICTION 2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from advisory.friction.core.values import rendered

if TYPE_CHECKING:
    from collections.abc import Mapping

    from advisory.friction.core.values import Field


class TemplateError(ValueError):
    """A brace that encloses no declared field."""


@dataclass(frozen=True, slots=True)
class Template:
    """Text and fields in turn: `texts[0] field[0] texts[1] ...`."""

    texts: tuple[str, ...]
    placeholders: tuple[Field, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.placeholders)

    def render(self, facts: Mapping[str, Any]) -> str:
        """Fill in raw facts by field name; a value that holds braces is not looked at again."""
        parts = [self.texts[0]]
        for field, text in zip(self.placeholders, self.texts[1:], strict=True):
            parts += [rendered(field, facts.get(field.name)), text]
        return "".join(parts)


def parsed_template(text: str, fields: Mapping[str, Field]) -> Template:
    texts = re.split(r"\{([^{}]*)\}", text)
    literal, names = texts[::2], texts[1::2]
    for name in names:
        if name not in fields:
            raise TemplateError(f"{{{name}}} is not among fields")
    if any("{" in part or "}" in part for part in literal):
        raise TemplateError("a brace stands alone; braces enclose the name of a field")
    return Template(tuple(literal), tuple(fields[name] for name in names))
