"""A result as an offline run of Weights & Biases, where its package is installed. Nothing is sent anywhere:
``wandb sync FOLDER`` does that, when the person wants it."""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any

from bench.results.export.tensorboard import points
from bench.results.record.document import Document, Result
from bench.results.record.grammar import harmless
from common.files import safe_name

MISSING = (
    "Weights & Biases is not installed; nothing of dlbox needs it. "
    "Get it with: .venv/bin/python -m pip install wandb"
)


def installed() -> bool:
    return importlib.util.find_spec("wandb") is not None


def write(document: Document, folder: Path) -> list[Path]:
    """One offline run a result below ``folder``/wandb; returns their folders. Raises OSError, ImportError."""
    for name in ("WANDB_ERROR_REPORTING", "WANDB_SILENT"):
        os.environ[name] = "false" if name.endswith("REPORTING") else "true"
    wandb: Any = importlib.import_module("wandb")
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(13, "Permission denied")  # it would take a folder of its own choice
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
        where = Path(run.dir).parent
    finally:
        run.finish()
    return where
