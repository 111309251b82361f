"""Data and compiled model of a workload. Used in a worker only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bench.measure.workloads import Workload
from workshops.speed import precision
from workshops.speed.settings import Setting

_TEST_SEED_OFFSET = 1_000_003
"""Added to the seed of the training examples, so that test examples are different for all small seeds."""


class Data(NamedTuple):
    """Arrays for ``fit`` and ``evaluate``, first axis: examples. ``ceiling``: test accuracy of a perfect model."""

    inputs: Any
    targets: Any
    test_inputs: Any
    test_targets: Any
    ceiling: float | None


def data(work: Workload, seed: int) -> Data:
    """The examples of ``work``; the same seed gives the same examples on every machine.

    Raises KeyError if no generator makes ``work.data``.
    """
    return _DATA[work.data](work, seed)


def model(work: Workload, setting: Setting | None = None) -> Any:
    """A new compiled Keras model with random weights; ``setting`` has its precision, layers and compiler options."""
    import keras

    if setting is not None:
        precision.use(setting.precision)
    built = _build(work)
    if setting is not None and setting.layers != "stock":
        from workshops import fast

        fast.quicken(built, setting.layers)
    config: dict[str, Any] = {"learning_rate": work.learning_rate}
    if work.gradient_clip_norm:
        config["clipnorm"] = work.gradient_clip_norm
    optimizer = keras.optimizers.get({"class_name": work.optimizer, "config": config})
    built.compile(
        optimizer=optimizer,
        loss=work.loss,
        metrics=["accuracy"],
        jit_compile="auto" if setting is None or setting.jit is None else setting.jit,
        steps_per_execution=setting.steps_per_execution if setting else 1,
    )
    return built


def _build(work: Workload) -> Any:
    if work.data == "sentiment-grammar":
        from workshops.models import class_scripts, workshop

        family = class_scripts if work.model.startswith("class/") else workshop
        name = work.model.removeprefix("class/")
        return family.build(name, vocabulary=work.vocabulary, length=work.tokens)
    if work.data == "number-characters":
        from workshops.lessons.text_generation import page as text_generation

        return text_generation.build(work.model, work.vocabulary)
    if work.data == "addition-reversed":
        from workshops.lessons.seq2seq import page as seq2seq

        return seq2seq.build_repeat()
    from workshops.lessons.sign import page

    return page.build(work.model)


def _reviews(work: Workload, seed: int) -> Data:
    from workshops.data import sentiment_grammar

    train = sentiment_grammar.make(work.train_examples, length=work.tokens, seed=seed)
    test = sentiment_grammar.make(work.test_examples, length=work.tokens, seed=seed + _TEST_SEED_OFFSET)
    return Data(train.tokens, train.labels, test.tokens, test.labels, test.realised_ceiling())


def _characters(work: Workload, seed: int) -> Data:
    """Text with the numbers 1 to 9,999 in words. Each target is the next character; the last fifth of the text is for
    the test."""
    from workshops.data import human_numbers

    text = human_numbers.decode(human_numbers.stream())
    symbols = sorted(set(text))
    number = np.zeros(128, np.int32)
    number[[ord(symbol) for symbol in symbols]] = np.arange(len(symbols))
    ids = number[np.frombuffer(text.encode(), np.uint8)]
    cut = round(0.8 * len(ids))
    train = _sequences(ids[:cut], work.train_examples, work.tokens, np.random.default_rng(seed))
    test = _sequences(
        ids[cut:], work.test_examples, work.tokens, np.random.default_rng(seed + _TEST_SEED_OFFSET)
    )
    return Data(*train, *test, None)


def _sequences(ids: Any, count: int, length: int, rng: np.random.Generator) -> tuple[Any, Any]:
    places = rng.integers(0, len(ids) - length, count)[:, None] + np.arange(length)
    return ids[places], ids[places + 1]


def _sums(work: Workload, seed: int) -> Data:
    """Sums of two numbers of up to three digits. No pair occurs twice, in any order. A perfect model reaches accuracy
    1."""
    from workshops.data import addition

    count = work.train_examples + work.test_examples
    made = addition.make(count, digits=3, seed=seed)
    train, test = made[: work.train_examples], made[work.train_examples :]
    return Data(
        addition.one_hot(train.questions),
        train.answers,
        addition.one_hot(test.questions),
        test.answers,
        1.0,
    )


def _signs(work: Workload, seed: int) -> Data:
    from workshops.data import glyphs

    train = glyphs.make(work.train_examples, seed=seed)
    test = glyphs.make(work.test_examples, seed=seed + _TEST_SEED_OFFSET)
    scaled = [part.images.astype(np.float32) / 255 for part in (train, test)]
    return Data(scaled[0], train.labels, scaled[1], test.labels, test.ceiling)


_DATA: dict[str, Callable[[Workload, int], Data]] = {
    "sentiment-grammar": _reviews,
    "number-characters": _characters,
    "addition-reversed": _sums,
    "glyphs": _signs,
}
