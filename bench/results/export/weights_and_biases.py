"""Training results as offline runs of Weights & Biases, if its package is installed.

Nothing is uploaded: the user does that with ``wandb sync FOLDER``.
"""

from __future__ import annotations

import errno
import importlib
import os
from pathlib import Path
from typing import Any

from bench.results.export.registry import ExportFormat, register
from bench.results.export.tensorboard import points
from bench.results.record.document import Document, Result
from bench.results.record.grammar import harmless
from common.file_access.files import safe_name


def write(document: Document, folder: Path) -> list[Path]:
    """Write one offline run per result below ``folder``/wandb; returns their folders.

    Raises OSError, or ImportError without the package.
    """
    for name in ("WANDB_ERROR_REPORTING", "WANDB_SILENT"):
        os.environ[name] = "false" if name.endswith("REPORTING") else "true"
    wandb: Any = importlib.import_module("wandb")
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(
            errno.EACCES, os.strerror(errno.EACCES)
        )  # wandb would silently use another folder
    return [_run(wandb, document, result, folder) for result in document.results]


def _run(wandb: Any, document: Document, result: Result, folder: Path) -> Path:
    host = document.machine.host
    when = f"run {document.run_id}" if document.run_id else harmless(document.started_at)
    run = wandb.init(
        project="dlbox",
        mode="offline",
        dir=str(folder),
        name=f"{safe_name(result.label)} {safe_name(result.backend)} {when}",
        group=f"{safe_name(document.command)} {when}",
        tags=[*(safe_name(n, most=64) for n in (result.workload, result.backend)), "gpu" if result.on_gpu else "cpu"],
        reinit="create_new",
        settings=wandb.Settings(
            silent=True, console="off", disable_git=True, save_code=False, x_disable_stats=True,
            x_disable_meta=True, x_disable_machine_info=True, x_save_requirements=False,
        ),
        config={
            "workload": result.workload,
            "backend": result.backend,
            "precision": result.precision,
            "batch_size": result.batch_size,
            "fingerprint": result.fingerprint,
            "parameters": result.parameters,
            "device": result.device,
            "hostname": host.hostname,
            "cpu_model": host.cpu_model,
            "data": result.data,
            "dlbox_version": document.dlbox_version,
            "versions": result.versions,
        },
    )  # fmt: skip
    try:
        for number, repeat in enumerate(result.repeats):
            for _, steps, figures in points(result, repeat):
                run.log({"process": number, "training_step": steps, **figures})
        run.summary.update(
            {
                "samples_per_second": result.samples_per_second.median,
                "samples_per_second_mad": result.samples_per_second.mad,
                "accuracy": result.accuracy,
                "partial": result.partial,
                "verdict": document.verdict,
            }
        )
        offline_run = Path(run.dir).parent
    finally:
        run.finish()
    return offline_run


def _write_and_explain(document: Document, folder: Path) -> str:
    folders = write(document, folder)
    return f"{len(folders)} offline runs below {folder / 'wandb'}; `wandb sync FOLDER` uploads one"


register(
    ExportFormat(
        option="wandb",
        source="run",
        target="data-folder",
        help="Offline runs of Weights & Biases beside the history.",
        write=_write_and_explain,
        folder_variable="WANDB_DIR",
        package="wandb",
        install_hint="Weights & Biases is not installed, and only this option needs it: "
        "install it with .venv/bin/python -m pip install wandb",
    )
)
