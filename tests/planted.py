"""The real worker with one fault planted in it: ``python -m tests.planted FAULT``, in the place of the worker.

Nothing of dlbox is changed: Keras' own pieces misbehave under it, as they would on a box with that fault.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

SLEEP_S = 0.06
"""A batch; a step of cnn-lstm on two cores takes 0.02 to 0.05 s."""


def sleep_in_the_pipeline() -> None:
    """What fetches a batch of arrays waits, as a slow disk or a starved loader does."""
    import tensorflow as tf
    from keras.src.trainers.data_adapters import array_data_adapter

    plain = array_data_adapter.ArrayDataAdapter.get_tf_dataset

    def slow(self: Any) -> Any:
        def late(*batch: Any) -> Any:
            with tf.control_dependencies([tf.py_function(lambda: time.sleep(SLEEP_S), [], [])]):
                return tuple(tf.identity(part) for part in batch)

        return plain(self).map(late)

    array_data_adapter.ArrayDataAdapter.get_tf_dataset = slow


def no_learning() -> None:
    """An optimizer that leaves every weight where it is."""
    import keras

    keras.optimizers.Adam.update_step = lambda self, gradient, variable, learning_rate: None


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


def killed() -> None:
    """By the system, in the middle of training."""
    import keras

    fit = keras.Model.fit

    class Death(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, index: int, logs: Any = None) -> None:
            if index == 60:
                os.kill(os.getpid(), signal.SIGKILL)

    def until_death(self: Any, *data: Any, callbacks: Any = (), **how: Any) -> Any:
        return fit(self, *data, callbacks=[*callbacks, Death()], **how)

    keras.Model.fit = until_death


FAULTS = {
    "none": lambda: None,
    "sleep": sleep_in_the_pipeline,
    "no-learning": no_learning,
    "memory": memory_ends_at_the_next_batch,
    "killed": killed,
}

if __name__ == "__main__":
    from bench.measure import worker

    out = os.dup(1)
    os.dup2(2, 1)  # what a framework says while it is imported is no event
    FAULTS[sys.argv[1]]()
    os.dup2(out, 1)
    sys.exit(worker.main())
