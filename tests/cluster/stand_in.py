"""A benchmark whose jobs only write a diary; ``python stand_in.py FOLDER --index I`` runs one of them.

Two trainings ask for a GPU each and wait for one another, so that they have to run side by side; a third one fails
until ``mended`` is there; the report runs anyway.
"""

from __future__ import annotations

import sys
from pathlib import Path

from nucplan.workflow.jobs import Job, Resources
from nucplan.workflow.local import run_jobs

WRITE = """
import os, pathlib, sys, time
folder, name, *partners = sys.argv[1:]
with open(pathlib.Path(folder, "diary"), "a") as diary:
    diary.write(f"{name} {os.environ.get('CUDA_VISIBLE_DEVICES', '')}\\n")
if name.endswith("bad") and not pathlib.Path(folder, "mended").exists():
    sys.exit("broken")
pathlib.Path(folder, name + ".here").touch()
while not all(pathlib.Path(folder, partner + ".here").exists() for partner in partners):
    time.sleep(0.1)
pathlib.Path(folder, name).touch()
"""


def jobs(folder: Path) -> list[Job]:
    def job(name: str, *after: str, partners: tuple[str, ...] = (), gpus: int = 0, anyway: bool = False) -> Job:
        return Job(
            f"test/{name}",
            ("python", "-c", WRITE, str(folder), name, *partners),
            inputs=tuple(folder / other for other in after),
            outputs=(folder / name,),
            anyway=anyway,
            resources=Resources(gpus=gpus, cores=1, memory_gib=1, hours=0.5),
        )

    return [
        job("first", partners=("second",), gpus=1),
        job("second", partners=("first",), gpus=1),
        job("bad"),
        job("report", "first", "second", "bad", anyway=True),
    ]


if __name__ == "__main__":
    folder, index = Path(sys.argv[1]), int(sys.argv[3])
    sys.exit(not run_jobs([jobs(folder)[index]], 1, folder / "logs", print).complete)
