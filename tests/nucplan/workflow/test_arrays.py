"""Jobs on a cluster: waves that need nothing from later ones, and a script that bash and sbatch take."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucplan.errors import NucplanError
from nucplan.workflow.arrays import job_at, sbatch_script, waves
from nucplan.workflow.jobs import Job, Resources, prerequisites

# Job i reads what some of the jobs before it write.
graphs = st.lists(st.sets(st.integers(0, 7)), min_size=1, max_size=8).map(
    lambda needs: [
        Job(f"j{i}", ("x",), tuple(Path(f"f{n}") for n in of if n < i), (Path(f"f{i}"),)) for i, of in enumerate(needs)
    ]
)


@given(graphs)
def test_every_job_is_in_one_wave_and_what_it_needs_in_earlier_ones(jobs):
    found = waves(jobs)
    wave_of = {jobs[i].name: number for number, wave in enumerate(found) for i in wave}
    assert sorted(i for wave in found for i in wave) == list(range(len(jobs)))
    for name, needs in prerequisites(jobs).items():
        assert all(wave_of[other.name] < wave_of[name] for other in needs)
        # And not later than they need be.
        assert wave_of[name] == 0 or any(wave_of[other.name] == wave_of[name] - 1 for other in needs)


def test_the_script_submits_each_wave_after_the_one_before_with_what_it_needs(tmp_path):
    jobs = [
        Job("plan", ("x",), (), (Path("p"),)),
        Job("a", ("x",), (Path("p"),), (Path("a"),), resources=Resources(1, 4, 16, 1.5)),
        Job("b", ("x",), (Path("p"),), (Path("b"),), resources=Resources(1, 2, 32, 24)),
    ]
    script = tmp_path / "array.sh"
    script.write_text(sbatch_script(jobs, ["nucplan_benchmark", "My set", "--seeds", "0,1"]))
    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(f'#!/bin/bash\necho "$@" >> {tmp_path}/calls\nwc -l < {tmp_path}/calls\n')
    sbatch.chmod(0o755)
    environment = os.environ | {"PATH": f"{sbatch.parent}:{os.environ['PATH']}"}
    subprocess.run(["bash", str(script)], check=True, env=environment)
    first, second = (tmp_path / "calls").read_text().splitlines()
    assert "--array=0 " in first
    assert "--dependency" not in first
    assert "--array=1,2 --dependency=afterany:1 --cpus-per-task=4 --mem=32G --time=24:00:00 --signal=" in second
    assert "--gpus=1 --wrap" in second
    assert second.endswith("--wrap exec nucplan_benchmark 'My set' --seeds 0,1 --index $SLURM_ARRAY_TASK_ID")


def test_an_index_that_is_no_job_is_refused():
    with pytest.raises(NucplanError, match="--index 3 is not one of the jobs 0 to 0"):
        job_at([Job("a", ("x",), (), (Path("o"),))], 3)
