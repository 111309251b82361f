"""Find the frameworks that the processor cannot run, because it lacks instructions that their wheels use."""

from __future__ import annotations

from provision.resolve.model import Request
from provision.resolve.rows import Framework, ProcessorRow, StackData


def refuse_processor(framework: Framework, request: Request, data: StackData) -> ProcessorRow | None:
    """The row with the instruction set that the processor lacks; None if the framework runs or nothing is known."""
    if request.cpu_flags is None:
        return None
    for row in data.processors:
        if row.framework == framework and not set(row.needs) <= set(request.cpu_flags):
            return row
    return None


def lacks(row: ProcessorRow, request: Request) -> str:
    """ "TensorFlow's wheels need AVX, and the processor has none", as one clause."""
    missing = [flag.upper() for flag in row.needs if flag not in (request.cpu_flags or ())]
    return f"{row.framework}'s wheels need {' and '.join(missing)}, which this processor does not have"
