"""Prints a comparison of two runs in a terminal with 80 or more columns."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.results.stats import intervals
from bench.results.stats.compare import Comparison, Pair, Side, in_words, speed

_STYLES = {
    "faster": "green",
    "slower": "bold red",
    "not-significant": "",
    "disturbed": "yellow",
    "not-comparable": "yellow",
}


def show(comparison: Comparison, console: Console) -> None:
    """Print both runs, their differences, the table of speeds, the reason for each outcome, and a one-line summary."""
    wrap = not console.is_terminal
    for letter, side in (("A", comparison.a), ("B", comparison.b)):
        console.print(Text(f"{letter}: {_described(side)}"), soft_wrap=wrap)
    if comparison.same_run:
        console.print(
            Text("A and B are the same run, so they cannot differ.", style="yellow"), soft_wrap=wrap
        )
    if comparison.differences:
        listed = "; ".join(f"{d.what} {d.a} | {d.b}" for d in comparison.differences)
        lead = "Differences (A | B):" if comparison.same_machine else "Different machines (A | B):"
        console.print(
            Text(f"{lead} {listed}", style="dim" if comparison.same_machine else "yellow"), soft_wrap=wrap
        )
    console.print(_table(comparison))
    for pair in comparison.pairs:
        console.print(Text(f"{pair.workload} on {pair.backend}: {pair.reason}"), soft_wrap=wrap)
    console.print(_summary(comparison).append(_left_out(comparison)), soft_wrap=wrap)


def _left_out(comparison: Comparison) -> str:
    """A sentence that names the models without a comparison. They do not affect the exit code."""
    names = [pair.workload for pair in comparison.pairs if pair.ratio is None]
    if not names or not comparison.comparable:
        return ""
    return f" Not compared: {', '.join(names)} ({len(names)} of {len(comparison.pairs)})."


def _described(side: Side) -> str:
    when = side.started_at.replace("T", " ").removesuffix("+00:00")
    return f"{side.name}, {when} UTC, on {side.hostname or 'a host without a name'}"


def _table(comparison: Comparison) -> Table:
    table = Table(
        title="Training samples per second", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
    )
    table.add_column("model")
    table.add_column("backend")
    for name in ("A", "B", "B/A", f"{intervals.CONFIDENCE:.0%} interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("B is")
    for pair in comparison.pairs:
        table.add_row(
            Text(pair.workload),
            Text(pair.backend),
            _speed(pair.a_samples_per_second),
            _speed(pair.b_samples_per_second),
            "-" if pair.ratio is None else f"{pair.ratio:.3f}",
            _interval(pair),
            Text(_word(pair), style=_STYLES[pair.outcome]),
        )
    return table


def _word(pair: Pair) -> str:
    if pair.outcome == "not-significant":
        return "equal" if pair.equal else "undecided"
    return "incomparable" if pair.outcome == "not-comparable" else pair.outcome


def _undecided(comparison: Comparison) -> str:
    """What the measurement leaves open for each model, and what would decide it; "" if nothing is open."""
    parts = []
    for pair in comparison.pairs:
        if pair.outcome != "not-significant" or pair.equal:
            continue
        if pair.low is None or pair.high is None:
            parts.append(f"{pair.workload}: too few timed blocks; measure both again with --repeats 5")
            continue
        if pair.repeats_to_decide is not None:
            more = f"--repeats {pair.repeats_to_decide} on both sides would decide a difference of this size"
        elif pair.method == "within":
            more = "measure both with --repeats 5 to estimate the variation between processes"
        else:
            more = "a difference of this size needs more than 100 repeats"
        parts.append(f"{pair.workload}: B may be {in_words(pair.low, pair.high)}; {more}")
    return ". ".join(parts)


def _speed(value: float | None) -> str:
    return "-" if value is None else speed(value)


def _interval(pair: Pair) -> str:
    if pair.low is None or pair.high is None:
        return "-"
    return f"{pair.low:.3f}-{pair.high:.3f}"


def _summary(comparison: Comparison) -> Text:
    def named(outcome: str) -> str:
        return ", ".join(
            f"{p.workload} ({p.ratio:.3f})" for p in comparison.pairs if p.outcome == outcome and p.ratio
        )

    slower, faster, disturbed = named("slower"), named("faster"), named("disturbed")
    again = f"other programs were running during {disturbed}: close them and measure again."
    if not comparison.comparable:
        return Text.assemble(("NOTHING TO COMPARE: ", "bold yellow"), "A and B have no comparable workload.")
    if slower:
        more = f"; faster in {faster}" if faster else ""
        return Text.assemble(
            ("SLOWER: ", "bold red"), f"B is slower in {slower}{more}.{f' {again}' if disturbed else ''}"
        )
    if disturbed:
        return Text.assemble(
            ("UNCERTAIN: ", "bold yellow"), again, f" B is faster in {faster}." if faster else ""
        )
    if faster:
        return Text.assemble(("FASTER: ", "bold green"), f"B is faster in {faster} and slower in none.")
    undecided = _undecided(comparison)
    if undecided:
        return Text.assemble(("UNDECIDED: ", "bold yellow"), f"no model differs significantly. {undecided}.")
    return Text.assemble(
        ("NO DIFFERENCE: ", "bold"), f"every model is equal within {intervals.SMALLEST:.0%}."
    )
