"""The models of the workshop in Keras 3, one builder each; the benchmark trains these models.

Sizes are those of the class (vocabulary 1,000; 300 tokens; embedding 50; 100 units). Every recurrent layer has
arguments that allow the fused kernels of a GPU: tanh, sigmoid gates, no recurrent dropout, no mask (the padding is
before the text, and the model learns to ignore it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

Head = Callable[[Any], Any]


def build(name: str, *, vocabulary: int = 1000, length: int = 300) -> keras.Model:
    """Model ``name``: int32 tokens (batch, length) -> probability of a positive review (batch, 1).

    Raises KeyError for a name that is not in ``BUILDERS``.
    """
    import keras

    head, embedding = BUILDERS[name]
    tokens = keras.Input((length,), dtype="int32", name="tokens")
    vectors = keras.layers.Embedding(vocabulary, embedding, name="embedding")(tokens)
    positive = keras.layers.Dense(1, activation="sigmoid", name="positive")(head(vectors))
    return keras.Model(tokens, positive, name=name.replace("-", "_"))


def _simple_rnn(vectors: Any) -> Any:
    import keras

    return keras.layers.SimpleRNN(100, name="simple_rnn")(vectors)


def _lstm(vectors: Any) -> Any:
    import keras

    return keras.layers.LSTM(100, name="lstm")(vectors)


def _gru(vectors: Any) -> Any:
    import keras

    return keras.layers.GRU(100, name="gru")(vectors)


def _bilstm(vectors: Any) -> Any:
    import keras

    return keras.layers.Bidirectional(keras.layers.LSTM(100), name="bilstm")(vectors)


def _deep_lstm(vectors: Any) -> Any:
    import keras

    below = keras.layers.LSTM(100, return_sequences=True, name="lstm_below")(vectors)
    return keras.layers.LSTM(100, name="lstm_above")(below)


def _cnn(vectors: Any) -> Any:
    import keras

    features = keras.layers.Conv1D(50, 3, activation="relu", name="conv")(vectors)
    flat = keras.layers.Flatten(name="flatten")(features)
    hidden = keras.layers.Dense(100, activation="relu", name="hidden")(flat)
    return keras.layers.Dropout(0.5, name="dropout")(hidden)


def _cnn_lstm(vectors: Any) -> Any:
    import keras

    features = keras.layers.Conv1D(64, 5, activation="relu", name="conv")(vectors)
    pooled = keras.layers.MaxPooling1D(4, name="pool")(features)
    return keras.layers.LSTM(70, name="lstm")(pooled)


def _attention(vectors: Any) -> Any:
    """An LSTM with additive attention over all its states h: the weights are the softmax of u . tanh(W h + b) over
    the time steps."""
    import keras

    states = keras.layers.LSTM(100, return_sequences=True, name="lstm")(vectors)
    scores = keras.layers.Dense(1, use_bias=False, name="score")(
        keras.layers.Dense(100, activation="tanh", name="look")(states)
    )
    weights = keras.layers.Softmax(axis=1, name="weights")(scores)
    return keras.layers.Flatten(name="context")(
        keras.layers.Dot(axes=(1, 1), name="weigh")([weights, states])
    )


BUILDERS: dict[str, tuple[Head, int]] = {
    "simple-rnn": (_simple_rnn, 50),
    "lstm": (_lstm, 50),
    "gru": (_gru, 50),
    "bilstm": (_bilstm, 50),
    "deep-lstm": (_deep_lstm, 50),
    "cnn": (_cnn, 50),
    "cnn-lstm": (_cnn_lstm, 50),
    "attention": (_attention, 50),
}
"""Name -> (layers between embedding and output, width of the embedding)."""
