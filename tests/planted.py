"""The real worker with one injected fault: ``python -m tests.planted FAULT`` replaces the worker.

dlbox itself is unchanged: parts of Keras are replaced so that they behave as on a machine with that fault.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

SLEEP_S = 0.2
"""A batch; a step of cnn-lstm takes 0.02 to 0.05 s on two cores. On a busy machine it takes 0.1, which hides less."""


def sleep_in_the_pipeline() -> None:
    """Fetching a batch of arrays waits, as with a slow disk or data loader. On any backend."""
    from keras.src.trainers.data_adapters.array_data_adapter import ArrayDataAdapter as Arrays

    if os.environ["KERAS_BACKEND"] == "tensorflow":
        import tensorflow as tf

        plain = Arrays.get_tf_dataset

        def slow(self: Any) -> Any:
            def late(*batch: Any) -> Any:
                with tf.control_dependencies([tf.py_function(lambda: time.sleep(SLEEP_S), [], [])]):
                    return tuple(tf.identity(part) for part in batch)

            return plain(self).map(late)

        Arrays.get_tf_dataset = slow
        return
    name = {"jax": "get_jax_iterator", "torch": "get_torch_dataloader"}[os.environ["KERAS_BACKEND"]]
    fetched = getattr(Arrays, name)

    class Late:
        def __init__(self, batches: Any) -> None:
            self.batches = batches

        def __iter__(self) -> Any:
            for batch in self.batches:
                time.sleep(SLEEP_S)
                yield batch

        def __len__(self) -> int:
            return len(self.batches)

    setattr(Arrays, name, lambda self: Late(fetched(self)))


def no_learning() -> None:
    """An optimizer with steps of size 0: no weight changes. On any backend."""
    import keras

    made = keras.optimizers.get

    def still(identifier: Any) -> Any:
        optimizer = made(identifier)
        optimizer.learning_rate = 0.0
        return optimizer

    keras.optimizers.get = still


def no_number() -> None:
    """An optimizer whose first step makes every weight NaN. On any backend."""
    import keras

    made = keras.optimizers.get

    def lost(identifier: Any) -> Any:
        optimizer = made(identifier)
        optimizer.learning_rate = float("nan")
        return optimizer

    keras.optimizers.get = lost


def blind() -> None:
    """Labels that are independent of the examples: the optimizer works, but there is nothing to learn."""
    import numpy as np

    from bench.measure.worker import tasks

    plain = tasks.data

    def mixed(work: Any, seed: int) -> Any:
        data = plain(work, seed)
        np.random.default_rng(seed).shuffle(data.targets)
        return data

    tasks.data = mixed


def memory_ends_at_the_next_batch() -> None:
    import keras
    import tensorflow as tf

    fit = keras.Model.fit

    def small(self: Any, *data: Any, batch_size: int | None = None, **how: Any) -> Any:
        if batch_size and batch_size > 32:
            raise tf.errors.ResourceExhaustedError(
                None, None, "OOM when allocating tensor with shape[64,300]"
            )
        return fit(self, *data, batch_size=batch_size, **how)

    keras.Model.fit = small


def killed_at_a_larger_batch() -> None:
    """Killed at a larger batch size than the next one, and not for lack of memory."""
    import keras

    fit = keras.Model.fit

    def small(self: Any, *data: Any, batch_size: int | None = None, **how: Any) -> Any:
        if batch_size and batch_size > 64:
            os.kill(os.getpid(), signal.SIGKILL)
        return fit(self, *data, batch_size=batch_size, **how)

    keras.Model.fit = small


def killed(at: int = 60) -> None:
    """Killed by a signal during training."""
    import keras

    fit = keras.Model.fit

    class Death(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, index: int, logs: Any = None) -> None:
            if index == at:
                os.kill(os.getpid(), signal.SIGKILL)

    def until_death(self: Any, *data: Any, callbacks: Any = (), **how: Any) -> Any:
        return fit(self, *data, callbacks=[*callbacks, Death()], **how)

    keras.Model.fit = until_death


def generic_kernel() -> None:
    """Recurrent layers that forbid the fused kernel, as a wrong argument or an old cuDNN would. On any backend."""
    import keras

    for layer in (keras.layers.LSTM, keras.layers.GRU):
        made = layer.__init__

        def without_cudnn(self: Any, *arguments: Any, made: Any = made, **options: Any) -> None:
            made(self, *arguments, **{**options, "use_cudnn": False})

        layer.__init__ = without_cudnn


FAULTS = {
    "none": lambda: None,
    "sleep": sleep_in_the_pipeline,
    "no-learning": no_learning,
    "memory": memory_ends_at_the_next_batch,
    "killed": killed,
    "killed-at-128": killed_at_a_larger_batch,
    "killed-early": lambda: killed(5),
    "killed-at-birth": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "blind": blind,
    "no-number": no_number,
    "generic-kernel": generic_kernel,
}

if __name__ == "__main__":
    from bench.measure.worker import main

    out = os.dup(1)
    os.dup2(2, 1)  # the output of a framework during its import is not an event
    FAULTS[sys.argv[1]]()
    os.dup2(out, 1)
    sys.exit(main.main())
