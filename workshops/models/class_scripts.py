"""The models of the class's scripts in Keras 3, to measure the effect of their arguments on speed.

Sizes and arguments are those of the class's repository of 2020-11-20; no code is copied. Three of its LSTM scripts use
a sigmoid activation, three others recurrent dropout: no fused kernel of any backend supports either.
``workshops.models.workshop`` has the same models with arguments that allow the fused kernels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workshops.models.workshop import Head

if TYPE_CHECKING:
    import keras


def build(name: str, *, vocabulary: int = 1000, length: int = 300) -> keras.Model:
    """Model ``name``: int32 tokens (batch, length) -> probability of a positive review (batch, 1).

    Raises KeyError for a name that is not in ``BUILDERS``.
    """
    import keras

    head, embedding = BUILDERS[name]
    tokens = keras.Input((length,), dtype="int32", name="tokens")
    vectors = keras.layers.Embedding(vocabulary, embedding, name="embedding")(tokens)
    positive = keras.layers.Dense(1, activation="sigmoid", name="positive")(head(vectors))
    return keras.Model(tokens, positive, name=f"{name}_of_the_class".replace("-", "_"))


def _lstm(vectors: Any) -> Any:
    import keras

    return keras.layers.LSTM(100, activation="sigmoid", name="lstm")(vectors)


def _deep_lstm(vectors: Any) -> Any:
    import keras

    below = keras.layers.LSTM(100, activation="sigmoid", return_sequences=True, name="lstm_below")(vectors)
    return keras.layers.LSTM(100, activation="sigmoid", name="lstm_above")(below)


def _dropout_lstm(vectors: Any) -> Any:
    import keras

    return keras.layers.LSTM(100, dropout=0.2, recurrent_dropout=0.2, name="lstm")(vectors)


def _cnn_lstm(vectors: Any) -> Any:
    """The only CNN/LSTM of the class: ten convolution filters, pooling of size two, ten LSTM units."""
    import keras

    features = keras.layers.Conv1D(10, 3, activation="relu", name="conv")(vectors)
    return keras.layers.LSTM(10, activation="sigmoid", name="lstm")(
        keras.layers.MaxPooling1D(2, name="pool")(features)
    )


BUILDERS: dict[str, tuple[Head, int]] = {
    "lstm": (_lstm, 50),
    "lstm-dropout": (_dropout_lstm, 50),
    "deep-lstm": (_deep_lstm, 100),
    "cnn-lstm": (_cnn_lstm, 50),
}
"""Name -> (layers between embedding and output, width of the embedding)."""
