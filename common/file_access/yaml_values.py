"""Read YAML files that follow the rules of another program, such as Ansible inventories (``provision/hosts``).

Aliases, merges and keys of any type are allowed. Mappings have the line number of each key. ``yaml_lines`` reads
dlbox's own files and is stricter.
"""

from __future__ import annotations

from typing import Any

from common.file_access import yaml_nodes
from common.file_access.yaml_nodes import Mapping, Node, Scalar, Sequence, YamlError
from common.terminal.shown import shortened


class Lined(dict[Any, Any]):
    """A mapping with the line number (from 1) of each key and its text in the file, such as ``off`` for False."""

    lines: dict[Any, int]
    texts: dict[Any, str]


def parse(text: str, name: str) -> Any:
    """The value of the only document in ``text``; None if there is no document. Raises YamlError with file and line.

    A value with a custom tag such as !vault, which only the other program understands, becomes None.
    """
    node = yaml_nodes.compose(text, name, aliases=True)
    return None if node is None else _Builder(name).build(node)


class _Builder:
    """Converts each node once, so that an alias and its anchor become the same object."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._made: dict[Node, Any] = {}

    def build(self, node: Node) -> Any:
        if node not in self._made:
            self._made[node] = self._value(node)
        return self._made[node]

    def _value(self, node: Node) -> Any:
        if node.tag.startswith("!"):
            return None
        if isinstance(node, Sequence):
            return [self.build(item) for item in node.items]
        if isinstance(node, Mapping):
            return self._mapping(node)
        assert isinstance(node, Scalar)  # noqa: S101
        value = yaml_nodes.value(node, self.name)
        if isinstance(value, str) and "\0" in value:
            raise self._error(node, "the text contains a NUL character")
        return value

    def _mapping(self, node: Mapping) -> Lined:
        """Convert a mapping. Its own keys override merged keys (<<), and earlier merged mappings override later."""
        found = Lined()
        found.lines, found.texts = {}, {}
        own: set[Any] = set()
        for key_node, value_node in node.pairs:
            if yaml_nodes.is_merge(key_node):
                continue
            key = self._key(key_node)
            if key in own:
                first = found.lines[key]
                problem = f'not valid YAML: "{shortened(key)}" is given twice, first on line {first}'
                raise self._error(key_node, problem)
            own.add(key)
            found.lines[key] = key_node.line
            found.texts[key] = key_node.text if isinstance(key_node, Scalar) else str(key)
            found[key] = self.build(value_node)
        for key_node, value_node in node.merges():
            merged = value_node.items if isinstance(value_node, Sequence) else [value_node]
            for one in merged:
                if not isinstance(one, Mapping):
                    raise self._error(
                        key_node, "not valid YAML: the value of `<<` must be a mapping or a list of mappings"
                    )
                more = self.build(one)
                for key in more:
                    if key not in found:
                        found[key] = more[key]
                        found.lines[key], found.texts[key] = more.lines[key], more.texts[key]
        return found

    def _key(self, node: Node) -> Any:
        if not isinstance(node, Scalar) or node.tag.startswith("!"):
            raise self._error(node, "not valid YAML: a key must be a scalar value")
        return self.build(node)

    def _error(self, node: Node, problem: str) -> YamlError:
        return YamlError(f"{self.name}, line {node.line}: {problem}")
