"""The output of nvidia-smi as a Tree: `-q -x` (XML, schemas v10 to v13) and `-q` (text)."""

from __future__ import annotations

import re
from xml.parsers import expat

from inventory.sources.smi_values import Tree

_DEEPEST = 24
_MOST_NODES = 400_000
_LONGEST_VALUE = 4096
_MOST_OUTPUTS = 200
_SKIPPED = frozenset({"supported_clocks", "accounted_processes", "supported_gpu_target_temp"})
"""Parts that no reader uses; the list of clocks is the longest part of the output."""

_XML = re.compile(r"<nvidia_smi_log\b.*?(?:</nvidia_smi_log>|\Z)", re.DOTALL)
_LOG = re.compile(r"^.*=+ ?NVSMI LOG ?=+.*$", re.MULTILINE)
_GPU = re.compile(r"GPU ([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f])\s*$")
_PAIR = re.compile(r"([^:]+?)\s*:(?:\s+(.*))?$")


def xml_trees(text: str) -> list[Tree]:
    """One Tree per `<nvidia_smi_log>` in ``text``, without those that contain no element.

    Of a damaged or cut document, the part before the damage counts.
    """
    trees = [_xml_tree(found.group(0)) for found in _XML.finditer(text)]
    return [tree for tree in trees if tree]


class _TreeBuilder:
    """Builds a Tree from the events of expat."""

    def __init__(self) -> None:
        self.tree: Tree = {}
        self.stack: list[tuple[str, Tree, list[str]]] = []
        self.nodes = 0
        self.skipping = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.nodes += 1
        if self.skipping or name in _SKIPPED or len(self.stack) >= _DEEPEST or self.nodes > _MOST_NODES:
            self.skipping += 1
            return
        child: Tree = {}
        if name == "gpu" and "id" in attributes:
            child["id"] = attributes["id"]
        self.stack.append((name, child, []))

    def data(self, text: str) -> None:
        if self.stack and not self.skipping and sum(map(len, self.stack[-1][2])) < _LONGEST_VALUE:
            self.stack[-1][2].append(text)

    def end(self, name: str) -> None:
        if self.skipping:
            self.skipping -= 1
            return
        if self.stack:
            self.close()

    def close(self) -> None:
        name, child, text = self.stack.pop()
        parent = self.stack[-1][1] if self.stack else self.tree
        _add(parent, name.lower(), child or "".join(text).strip())


def _xml_tree(document: str) -> Tree:
    """The children of the root. Document type declarations were cut off by the caller, and entities are refused."""
    builder = _TreeBuilder()
    parser = expat.ParserCreate()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = _refuse
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(document.encode("utf-8", "replace"), True)
    except (expat.ExpatError, _EntityError):
        while builder.stack:
            builder.close()
    root = builder.tree.get("nvidia_smi_log", {})
    return root if isinstance(root, dict) else {}


class _EntityError(ValueError):
    """The document declares entities, which nvidia-smi never does."""


def _refuse(*_: object) -> None:
    raise _EntityError


def _add(parent: Tree, name: str, value: Tree | str) -> None:
    if name not in parent:
        parent[name] = value
    elif isinstance(parent[name], list):
        parent[name].append(value)
    else:
        parent[name] = [parent[name], value]


def text_trees(text: str) -> list[Tree]:
    """One Tree per "==NVSMI LOG==" in ``text``; its key "gpu" has one Tree per card."""
    heads = list(_LOG.finditer(text))[:_MOST_OUTPUTS]
    ends = [*(head.start() for head in heads[1:]), len(text)]
    trees = [_text_tree(text[head.end() : end]) for head, end in zip(heads, ends, strict=False)]
    return [tree for tree in trees if tree]


def _text_tree(body: str) -> Tree:
    """The nesting follows the indentation. A line without indentation that is not a pair ends the output."""
    top: Tree = {}
    path: list[tuple[int, Tree]] = [(-1, top)]
    for count, raw in enumerate(body.expandtabs(8).splitlines()):
        line = raw.rstrip()
        if not line.strip():
            continue
        if count > _MOST_NODES or re.match(r"_{20,}$", line):
            break
        indent = len(line) - len(line.lstrip())
        gpu = _GPU.match(line.strip())
        if gpu and indent < 8:
            child: Tree = {"id": gpu[1]}
            top.setdefault("gpu", []).append(child)
            path = [(-1, top), (indent, child)]
            continue
        pair = _PAIR.match(line.strip()[:_LONGEST_VALUE])
        if indent == 0 and pair is None:
            if "gpu" in top or len(top) > 2:
                break
            continue
        while len(path) > 1 and path[-1][0] >= indent:
            path.pop()
        parent = path[-1][1]
        if pair is not None and pair[2] is not None:
            _add(parent, _name(pair[1]), pair[2].strip())
        elif len(path) < _DEEPEST:
            section: Tree = {}
            _add(parent, _name(line.strip().rstrip(":")), section)
            path.append((indent, section))
    return top if "gpu" in top or "driver_version" in top else {}


def _name(words: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
