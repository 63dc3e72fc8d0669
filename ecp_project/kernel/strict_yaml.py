"""YAML for rule files, with nothing hidden in it: no duplicate keys, anchors, aliases, merges or tags."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from yaml.constructor import ConstructorError
from yaml.events import AliasEvent, NodeEvent

if TYPE_CHECKING:
    from collections.abc import Hashable

    from yaml.nodes import MappingNode, Node


class StrictYamlError(ValueError):
    """The text is no strict YAML; the message names line and column."""


class _StrictLoader(yaml.SafeLoader):
    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave it untyped
        mark: Any = event.start_mark
        if isinstance(event, AliasEvent) or (isinstance(event, NodeEvent) and event.anchor is not None):
            raise ConstructorError(None, None, "anchors and aliases are not allowed", mark)
        if getattr(event, "tag", None) is not None:
            raise ConstructorError(None, None, "tags are not allowed", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - signature of the base class
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise ConstructorError(None, None, "merge keys are not allowed", key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise ConstructorError(None, None, "a name must be a string", key_node.start_mark)
            if key in seen:
                raise ConstructorError(None, None, f"duplicate name {key!r}", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def load(text: str) -> Any:
    """Read the one document in `text`, or raise StrictYamlError with the place of the fault."""
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - the loader is a SafeLoader made stricter
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise StrictYamlError(" ".join(str(error).split())) from error
