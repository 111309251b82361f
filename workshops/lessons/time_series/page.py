# %% [markdown]
# # Time series: networks compared with simple forecasts
#
# The forecast of a network for airline passengers looks good on a plot. Is it good? This lesson compares every error
# with that of simple rules for the same months.

# %%
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers

from workshops.data import series, slides
from workshops.player.page import LessonPage

TRAINED, LOOK_BACK, BATCH = 100, 13, 32
"""The first 100 months are the training part; a window has 13 months, a year and a month."""

# %% tags=["active-ipynb"]
# from workshops.commands.start import open_page
# page = open_page("time-series")

# %% [markdown]
# ## Windows
# The input is a window of the last points, the target is the next point. Three mistakes from published code: a loop
# that ends one point too early, a test part that overlaps the training part, and a scale computed from future
# months.


# %%
def windows_table(page: LessonPage) -> None:
    page.heading("Windows")
    rows, labels = series.windows(slides.SERIES, 10)
    for row, label in zip(rows, labels, strict=True):
        page.line(f"  {' '.join(f'{v:2.0f}' for v in row)} -> {label:.0f}")
    page.measure("windows of 10 in 13 points", len(rows))
    early = len(slides.SERIES) - 10 - 1
    page.say(
        f"`range(n - length - 1)` makes {early}: the newest point, which is the most important one, is never used."
    )

    length, months = 4, np.arange(144.0)
    train_labels = {int(v) for v in series.windows(months[:TRAINED], length)[1][:-1]}
    test_labels = {int(v) for v in series.windows(months[TRAINED - length - 2 :], length)[1][:-1]}
    both = sorted(train_labels & test_labels)
    page.measure("months both trained on and tested on", len(both))
    page.say(
        f"A published script starts its test part at split - length - 2: month {both[0]} is in both "
        f"parts. And because of "
        f"the omitted windows, month {TRAINED - 1} is missing in the training part and month 143 in the test part."
    )
    y = series.airline()
    above = float(np.mean(y[TRAINED:] > y[:TRAINED].max()))
    page.measure("test months above all training months", above)
    page.say(
        f"It scales by the minimum and maximum of all months, which uses the future. With a scale from "
        f"the training part a "
        f"sigmoid output cannot reach {above:.0%} of the test months, which are above {y[:TRAINED].max():.0f}."
    )


# %% [markdown]
# ## Simple forecasts
# The next month equals this month (persistence); it equals the same month a year ago; it equals that month times the
# growth since then; or it is a linear function of the last L months, fitted by least squares: AR(L).


# %%
def rules_of_thumb(page: LessonPage) -> None:
    page.heading("Simple forecasts (airline, thousands of passengers)")
    y = series.airline()
    truth, before, year, year_before = (
        y[TRAINED:],
        y[TRAINED - 1 : -1],
        y[TRAINED - 12 : -12],
        y[TRAINED - 13 : -13],
    )
    forecasts = {
        "persistence": before,
        "a year ago": year,
        "a year ago x growth": year * before / year_before,
    }
    for length in (4, 12, 13, 20):
        x, t = series.windows(y, length)
        weights = series.linear(x[: TRAINED - length], t[: TRAINED - length])
        forecasts[f"AR({length})"] = series.linear_forecast(x[TRAINED - length :], weights)
    rows = [(name, series.mae(f, truth), series.rmse(f, truth)) for name, f in forecasts.items()]
    page.table(("", "MAE", "RMSE"), rows)
    for name, mae, _ in rows:
        page.measure(f"{name}: MAE", mae)
    page.say(
        "With the last 4 months, as in the class, the season is not visible: the error is hardly smaller "
        "than that of "
        "persistence. With the last 13 months, a linear function with 14 weights has an error below 11 thousand."
    )


# %% [markdown]
# ## Networks
# The networks read the same 13 months as logarithms relative to the last one, so that growth is a sum and all
# windows have a similar range. The scale is computed from the training months only. The output is the difference
# between the next month and the last one.


# %%
def build(kind: str, length: int) -> keras.Model:
    """(batch, length, 1) -> (batch, 1); ``kind``: perceptron, simple-rnn, lstm or gru. The head is linear."""
    window = keras.Input((length, 1), name="window")
    cells: dict[str, Callable[[Any], Any]] = {
        "perceptron": layers.Flatten(),
        "simple-rnn": layers.SimpleRNN(16),
        "lstm": layers.LSTM(16),
        "gru": layers.GRU(16),
    }
    return keras.Model(window, layers.Dense(1)(cells[kind](window)), name=kind.replace("-", "_"))


class Airline:
    """Converts the airline months to the input of a network, and its output back."""

    def __init__(self, length: int = LOOK_BACK) -> None:
        self.log = np.log(series.airline())
        self.step = float(np.std(np.diff(self.log[:TRAINED])))
        x, t = series.windows(self.log, length)
        self.x, self.t, self.cut = self.see(x), (t - x[:, -1]) / self.step, TRAINED - length

    def see(self, months: series.Values) -> series.Values:
        """Log months (rows, length) -> relative to the last month, divided by the typical step (rows, length, 1)."""
        relative: series.Values = ((months - months[:, -1:]) / self.step)[..., None]
        return relative

    def forecast(self, model: Any, months: series.Values) -> series.Values:
        """The forecast of the next month for each window of log months, as a logarithm (rows,)."""
        forecast = np.asarray(model.predict_on_batch(self.see(months)), np.float64)[:, 0]
        return np.asarray(months[:, -1] + forecast * self.step)


def train(page: LessonPage, kind: str, x: Any, t: Any, *, epochs: int, rate: float = 0.01) -> keras.Model:
    page.seed()
    model = build(kind, x.shape[1])
    steps = max(1, epochs * -(-len(x) // BATCH))
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps), clipnorm=1.0), "mse"
    )
    page.fit(model, x, t, epochs=epochs, batch_size=BATCH)
    return model


def airline_networks(page: LessonPage, kinds: list[str]) -> None:
    page.heading("Networks on the airline months")
    data, y = Airline(), series.airline()
    history = np.stack([data.log[t - LOOK_BACK : t] for t in range(TRAINED, len(y))])
    x, t = series.windows(y[:TRAINED], LOOK_BACK)
    weights, months = series.linear(x, t), list(y[:TRAINED])
    while len(months) < len(y):
        months.append(float(series.linear_forecast(np.array(months[-LOOK_BACK:])[None], weights)[0]))
    ahead = {"AR(13)": np.array(months[TRAINED:])}
    page.measure("AR(13): MAE, 44 months ahead", series.mae(ahead["AR(13)"], y[TRAINED:]))
    for kind in kinds:
        model = train(
            page, kind, data.x[: data.cut], data.t[: data.cut], epochs=page.epochs(full=200, quick=100)
        )
        one_step = np.exp(data.forecast(model, history))
        page.measure(f"{kind}: MAE", series.mae(one_step, y[TRAINED:]))
        ahead[kind] = np.exp(repeated(data, model, data.log[:TRAINED], len(y) - TRAINED))
        page.measure(f"{kind}: MAE, 44 months ahead", series.mae(ahead[kind], y[TRAINED:]))
        page.save_model(model, kind)
    page.say(
        "A perceptron is a linear function too, of logarithms, fitted by gradient descent. The recurrent "
        "networks are much "
        "better than persistence and worse than the linear functions: 87 windows are too few for them. A plot would "
        "not show this."
    )
    draw(page, y, ahead)


# %% [markdown]
# ## Repeated prediction
# Forecasting one month ahead is easy, because the input contains the true last month. Here each forecast is part of
# the input of the next one, for 44 months.


# %%
def repeated(data: Airline, model: Any, known: series.Values, steps: int) -> series.Values:
    """The next ``steps`` log months, each computed from the model's earlier forecasts."""
    months = list(known)
    for _ in range(steps):
        months.append(float(data.forecast(model, np.array(months[-LOOK_BACK:])[None])[0]))
    return np.array(months[len(known) :])


def draw(page: LessonPage, y: series.Values, ahead: dict[str, series.Values]) -> None:
    with page.figure("airline", "Airline passengers, 44 months ahead on its own forecasts") as axes:
        axes.plot(y, color="black", linewidth=1, label="passengers (thousands)")
        for name, values in ahead.items():
            axes.plot(range(TRAINED, len(y)), values, label=name)
        axes.axvline(TRAINED, color="grey", linestyle=":")
        axes.set_xlabel("month since January 1949")
        axes.legend()


# %% [markdown]
# ## A series whose best score is known
# x(t) = 1.6 x(t-1) - 0.9 x(t-2) + noise. The noise cannot be predicted, so no error can be smaller than the noise.
# With this series we can distinguish a bad network from a hard series.


# %%
def known_floor(page: LessonPage, kinds: list[str]) -> None:
    page.heading("A series whose best score is known")
    noisy = series.noisy_ar(seed=page.options.seed)
    x, t = series.windows(noisy.values, 12)
    cut, scale = 1400, float(np.std(noisy.values[:1400]))
    floor = series.rmse(series.noisy_ar_best(x[cut:]), t[cut:])
    page.measure("noise: RMSE of the noise itself", floor)
    line = series.linear_forecast(x[cut:], series.linear(x[:cut], t[:cut]))
    page.measure("noise: AR(12) / floor", series.rmse(line, t[cut:]) / floor)
    for kind in kinds:
        epochs = page.epochs(full=40, quick=10)
        model = train(page, kind, x[:cut, :, None] / scale, t[:cut] / scale, epochs=epochs, rate=0.02)
        forecast = np.asarray(model.predict(x[cut:, :, None] / scale, verbose=0), np.float64)[:, 0] * scale
        page.measure(f"noise: {kind} / floor", series.rmse(forecast, t[cut:]) / floor)
        page.save_model(model, f"noise-{kind}")


# %% [markdown]
# ## A sine
# The first series of the class. It needs no network: each point of a sine follows from the two points before it.


# %%
def sine(page: LessonPage, kinds: list[str]) -> None:
    page.heading("A sine")
    y = series.sine()
    x, t = series.windows(y, 2)
    weights, points = series.linear(x[:700], t[:700]), list(y[:700])
    while len(points) < len(y):
        points.append(float(series.linear_forecast(np.array(points[-2:])[None], weights)[0]))
    page.measure("sine: AR(2), 300 steps ahead, MAE", series.mae(np.array(points[700:]), y[700:]))
    x, t = series.windows(y, LOOK_BACK)
    for kind in kinds:
        model = train(page, kind, x[:687, :, None], t[:687], epochs=page.epochs(full=40, quick=6))
        forecast = np.asarray(model.predict(x[687:, :, None], verbose=0), np.float64)[:, 0]
        page.measure(f"sine: {kind}, one step, MAE", series.mae(forecast, t[687:]))
        page.save_model(model, f"sine-{kind}")


# %% tags=["active-ipynb"]
# kinds = ["perceptron", "simple-rnn", "lstm"]
# windows_table(page)
# rules_of_thumb(page)
# airline_networks(page, kinds)
# known_floor(page, kinds)
# sine(page, kinds)
# result = page.close()

# %% [markdown]
# ## Questions
# Why does an error of 18 look small on the plot? What would a sigmoid output forecast for the last summers? `dlbox
# workshop check time-series` has exercises on common mistakes: the omitted window, the shared month, a scale that
# uses the future, a "forecast" that reads the true values, and a baseline with too small an error.
