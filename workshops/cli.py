"""The commands of `dlbox workshop`: options and arguments. Each callback imports what it needs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from common.backends import BACKENDS
from common.command_line.click_types import Folder, NamedPath, WholeNumber
from common.command_line.messages import print_error
from common.command_line.options import json_option

OUTPUT_FOLDER = Path("dlbox-results/workshop")

backend_option = click.option(
    "--backend",
    type=click.Choice(BACKENDS),
    help="The framework that Keras runs on.  [default: KERAS_BACKEND, else the first of these that is installed]",
)


@click.group("workshop", invoke_without_command=True)
@click.pass_context
def workshop_group(context: click.Context) -> None:
    """Keras lessons that run offline, with or without a card, and list the results to expect."""
    if context.invoked_subcommand is None:
        from workshops.commands.list_lessons import list_lessons

        sys.exit(list_lessons(as_json=False))


@workshop_group.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List the lessons in order, with the time that each takes."""
    from workshops.commands.list_lessons import list_lessons

    sys.exit(list_lessons(as_json=as_json))


@workshop_group.command("run")
@click.argument("name")
@click.option("--model", metavar="NAME", help="Train only this model of the lesson.")
@click.option(
    "--cell",
    metavar="NAME",
    help="Use only this cell: simple-rnn, lstm or gru; the lesson by-hand also has conv.",
)
@click.option("--epochs", type=WholeNumber(1), help="Number of epochs.  [default: set by the lesson]")
@click.option("--quick", is_flag=True, help="Run the short version: about a minute on two CPU cores.")
@click.option(
    "--seed",
    type=WholeNumber(0, 2**31 - 1),
    default=0,
    show_default=True,
    help="Seed of the generated data and the initial weights.",
)
@click.option(
    "--data",
    default="embedded",
    show_default=True,
    metavar="SET",
    help="Use another data set; `dlbox workshop list` shows the names.",
)
@click.option(
    "--corpus",
    type=NamedPath(path_type=Path, exists=True),
    help="Use a file or folder of your own, in lessons that can read one.",
)
@click.option(
    "--output",
    type=Folder(),
    default=OUTPUT_FOLDER,
    show_default=True,
    help="Folder for pictures and models.",
)
@click.option("--save", is_flag=True, help="Save the trained models as .keras files.")
@click.option("--show", is_flag=True, help="Also open each picture on the desktop.")
@backend_option
@json_option
def run_command(name: str, backend: str | None, as_json: bool, **choices: Any) -> None:
    """Run lesson NAME; at the end, compare the measured values with their expected ranges."""
    from workshops.commands import run
    from workshops.player.outcome import LessonOptions

    sys.exit(run.run(name, LessonOptions(**choices), backend=backend, as_json=as_json, complain=print_error))


@workshop_group.command("check")
@click.argument("name")
@click.option(
    "--folder",
    type=Folder(),
    default=Path("exercises"),
    show_default=True,
    help="Folder with your copy of the exercises.",
)
@click.option("--solutions", is_flag=True, help="Test the solutions instead, and print their path.")
@json_option
def check_command(name: str, folder: Path, solutions: bool, as_json: bool) -> None:
    """Test your exercises of lesson NAME; the first call copies them into the folder."""
    from workshops.commands import check

    sys.exit(check.check(name, folder, solutions=solutions, as_json=as_json, complain=print_error))


@workshop_group.command("notebook")
@click.argument("name")
@click.option(
    "--folder",
    type=Folder(),
    default=Path("notebooks"),
    show_default=True,
    help="Folder to write the notebook to.",
)
@click.option("--force", is_flag=True, help="Overwrite a notebook that you edited.")
def notebook_command(name: str, folder: Path, force: bool) -> None:
    """Write lesson NAME (or `all`) as a Jupyter notebook."""
    from workshops.commands import notebook

    sys.exit(notebook.write_notebook(name, folder, force=force, complain=print_error))


@workshop_group.command("open")
@click.option(
    "--folder",
    type=Folder(),
    default=Path("notebooks"),
    show_default=True,
    help="Folder of the notebooks; missing ones are written first.",
)
def open_command(folder: Path) -> None:
    """Open the lessons in JupyterLab."""
    from workshops.commands import notebook

    sys.exit(notebook.open_lab(folder, complain=print_error))


@workshop_group.command("predict")
@click.argument("name")
@click.option("--text", required=True, help='Input of the model, such as "12+345" for seq2seq.')
@click.option("--model", metavar="NAME", help="Name of the saved model.  [default: the newest]")
@click.option(
    "--output",
    type=Folder(),
    default=OUTPUT_FOLDER,
    show_default=True,
    help="Folder that `dlbox workshop run --save` wrote to.",
)
@backend_option
def predict_command(name: str, text: str, output: Path, model: str | None, backend: str | None) -> None:
    """Give a text to a model that `dlbox workshop run --save` saved, and print its prediction."""
    from workshops.commands import predict

    sys.exit(predict.predict(name, text, output, model=model, backend=backend, complain=print_error))
