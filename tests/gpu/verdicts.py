"""Whether a step of tests/gpu/run.sh passed, by its output. Pure functions of (context, standard output)."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.gpu.run import Context, Judge

LEAST_SHARE = 0.5
"""Keras reaches at least this share of the speed of cuDNN without Keras; with less the fused kernel did not run."""


def _document(text: str) -> dict[str, Any]:
    """The JSON document that a command printed. ValueError if there is none."""
    found = json.loads(text[text.index("{") :])
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    return found


def recorded(context: Context, text: str) -> tuple[bool, str]:
    return (context.output / "scenario.yml").is_file(), text.strip()


def checked(context: Context, text: str) -> tuple[bool, str]:
    """Passed if no check failed; on a machine without a card, if the command gave a verdict."""
    document = _document(text)
    failed = [f"{f['id']}: {f['message']}" for f in document["findings"] if f["status"] == "fail"]
    return not failed, f"verdict {document['verdict']}" + (f"; {'; '.join(failed[:3])}" if failed else "")


def replayed(context: Context, text: str) -> tuple[bool, str]:
    """Passed if the checks of the scenario have the statuses of the checks of the machine."""
    here = {
        (f["id"], f.get("subject", "")): f["status"] for f in _document(context.results["check"])["findings"]
    }
    there = {(f["id"], f.get("subject", "")): f["status"] for f in _document(text)["findings"]}
    of_card = [
        key for key in here if key[0].split(".")[0] in ("gpu", "thermal", "power", "errors", "memory", "pcie")
    ]
    other = [key[0] for key in of_card if there.get(key, "absent") != here[key]]
    return not other, f"{len(of_card) - len(other)} of {len(of_card)} checks agree" + (
        f"; different: {', '.join(sorted(set(other))[:6])}" if other else ""
    )


def planned(context: Context, text: str) -> tuple[bool, str]:
    document = _document(text)
    driver = document.get("driver") or {}
    cards = ", ".join(document.get("cards", [])) or "no card"
    if document.get("error"):
        return not context.card, f"{cards}: {document['error']}"
    return True, f"{cards}: driver {driver.get('branch', 'none')}"


def probed(context: Context, text: str) -> tuple[bool, str]:
    document = _document(text)
    rates = ", ".join(f"{name} {rate:.3g} TFLOP/s" for name, rate in document["matmul_tflops"].items())
    troubles = "; ".join(f"{name}: {why}" for name, why in document["troubles"].items())
    sound = bool(rates) and not troubles and document["on_gpu"] is context.card
    return sound, "; ".join(filter(None, (f"{document['device']}: {rates}", troubles)))


def trained(model: str) -> Judge:
    """Passed if the model was trained, and on a card with the fused kernel."""

    def judge(context: Context, text: str) -> tuple[bool, str]:
        result = _result(text, model)
        kernel = result.get("kernel") or {}
        rate = result["samples_per_second"]["median"]
        why = f"{rate:,.0f} samples/s on {result['device']}, kernel: {kernel.get('path', 'unknown')}"
        if kernel.get("evidence"):
            why += f" ({kernel['evidence']})"
        fused = kernel.get("path") == "fused" or kernel.get("unavoidable") is True
        return rate > 0 and (not context.card or (result["on_gpu"] is True and fused)), why

    return judge


def compared(model: str) -> Judge:
    """Passed if cuDNN's kernels ran without Keras, and Keras reaches a fair share of their speed."""

    def judge(context: Context, text: str) -> tuple[bool, str]:
        raw = json.loads(text.strip().splitlines()[-1])
        if raw is None:
            return True, f"{context.backend} has no public call of cuDNN for {model}"
        proof = [name for name in raw["kernels"] if "cudnn" in name.lower() or "rnn" in name.lower()]
        words = (
            f"{raw['samples_per_second']:,.0f} samples/s; cuDNN's kernels: {', '.join(proof[:3]) or 'none'}"
        )
        if f"bench-{model}" not in context.results:
            return bool(proof), words
        share = (
            _result(context.results[f"bench-{model}"], model)["samples_per_second"]["median"]
            / raw["samples_per_second"]
        )
        layer = raw.get("layer_only", False)  # JAX: the layer alone, so that the share has no limit
        return bool(proof) and (layer or share >= LEAST_SHARE), f"{words}; Keras reaches {share:.0%}"

    return judge


def names_fault(model: str, check: str) -> Callable[[Context, str], tuple[bool, str]]:
    """Passed if the document has a finding about ``check`` that is a warning or a failure."""

    def judge(context: Context, text: str) -> tuple[bool, str]:
        found = [f for f in _document(text)["findings"] if f["id"] == f"training.{model}-{check}"]
        if not found:
            return False, f"no finding training.{model}-{check}"
        return found[0]["status"] in ("warn", "fail"), f"{found[0]['status']}: {found[0]['message']}"

    return judge


def _result(text: str, model: str) -> dict[str, Any]:
    results: list[dict[str, Any]] = _document(text)["results"]
    found = [result for result in results if result["workload"] == model]
    if not found:
        raise ValueError(f"no result of {model}")
    return found[0]
