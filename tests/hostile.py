"""Texts that would run a program if they were evaluated, and a walk that puts them into every field of a document."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any


def texts(canary: Path) -> tuple[str, ...]:
    """Each would make the file where it is a template, a command of a shell, or a line of a file of its own."""
    return (
        f"6.8-{{{{ lookup('pipe', 'touch {canary}') }}}}",
        f'{{{{ lookup("pipe", "touch {canary}") }}}}',
        f"{{% set x = lookup('pipe', 'touch {canary}') %}}{{{{ x }}}}",
        f"{{{{ lookup('ansible.builtin.pipe', 'touch {canary}') | default('a') }}}}",
        f"!unsafe {{{{ lookup('pipe', 'touch {canary}') }}}}",
        f"$(touch {canary})",
        f"`touch {canary}`",
        f"a; touch {canary}",
        f"a' && touch {canary} && echo '",
        f'a" && touch {canary} && echo "',
        f"a\ntouch {canary}\n",
        f"import os; os.system('touch {canary}')",
        f"-oProxyCommand=touch {canary}",
    )


def placed(document: Any, text: str) -> Iterator[tuple[str, Any]]:
    """(where, the document with the text there): for each value and each key, however deep."""
    yield "", text
    if isinstance(document, dict):
        for key, value in document.items():
            for where, inner in placed(value, text):
                yield f".{key}{where}", {**document, key: inner}
            yield f" key {key}", {(text if k == key else k): v for k, v in document.items()}
    elif isinstance(document, list):
        for index, value in enumerate(document):
            for where, inner in placed(value, text):
                yield f"[{index}]{where}", [*document[:index], inner, *document[index + 1 :]]


def leaves(document: Any) -> Iterator[Any]:
    """Every value that is no mapping and no list, and every key."""
    if isinstance(document, dict):
        yield from document
        for value in document.values():
            yield from leaves(value)
    elif isinstance(document, list):
        for value in document:
            yield from leaves(value)
    else:
        yield document
