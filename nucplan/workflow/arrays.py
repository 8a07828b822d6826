"""Jobs for clusters: one by its number, and an array script for SLURM."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from nucplan.errors import NucplanError
from nucplan.workflow.jobs import Job, Resources, prerequisites

HEADER = """\
#!/bin/bash
# {count} jobs in {waves} waves: each array waits for the one before it. Submit with: bash FILE
# Run it again after a failure: what is done leaves at once. Add --partition or --account where your cluster wants them.
set -euo pipefail
"""
# So long before its time limit a job is told to leave with exit code 75, which clusters can take as "start it again".
WARNING_SECONDS = 120


def job_at(jobs: Sequence[Job], index: int) -> Job:
    """Job ``index``, from 0.

    Raises
    ------
    NucplanError
        If there is none.
    """
    if not 0 <= index < len(jobs):
        raise NucplanError(f"--index {index} is not one of the jobs 0 to {len(jobs) - 1}; see --dry-run.")
    return jobs[index]


def waves(jobs: Sequence[Job]) -> list[list[int]]:
    """Indices of the jobs by how many others they wait for in a row: a wave needs nothing from later ones."""
    needs, depth = prerequisites(jobs), {}
    for job in jobs:
        depth[job.name] = max((depth[other.name] + 1 for other in needs[job.name]), default=0)
    return [[i for i, job in enumerate(jobs) if depth[job.name] == wave] for wave in range(max(depth.values()) + 1)]


def sbatch_script(jobs: Sequence[Job], command: Sequence[str]) -> str:
    """A script that submits all jobs as dependent SLURM arrays.

    Parameters
    ----------
    command
        The benchmark command that takes ``--index``; every array task calls it with its number.
    """
    found = waves(jobs)
    lines = [HEADER.format(count=len(jobs), waves=len(found))]
    for number, indices in enumerate(found):
        needs = _most([jobs[i].resources for i in indices])
        # afterany: a wave starts what it can, even where one job of the wave before failed.
        # What stands behind a semicolon is the name of the cluster.
        after = f" --dependency=afterany:${{wave{number - 1}%%;*}}" if number else ""
        gpus = f" --gpus={needs.gpus}" if needs.gpus else ""
        array = ",".join(map(str, indices))
        lines.append(
            f"wave{number}=$(sbatch --parsable --job-name=nucplan --array={array}{after} --cpus-per-task={needs.cores}"
            f" --mem={needs.memory_gib}G --time={_clock(needs.hours)} --signal=B:USR1@{WARNING_SECONDS}{gpus} --wrap "
            f"{shlex.quote(f'exec {shlex.join(command)} --index $SLURM_ARRAY_TASK_ID')})"
        )
    return "\n".join(lines)


def _most(resources: Sequence[Resources]) -> Resources:
    return Resources(*(max(getattr(r, name) for r in resources) for name in Resources.__dataclass_fields__))


def _clock(hours: float) -> str:
    return f"{int(hours)}:{round(hours % 1 * 60):02d}:00"
