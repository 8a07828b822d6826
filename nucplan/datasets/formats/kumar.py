"""Kumar: the first 30 images of MoNuSeg in the split of the paper, as the authors of HoVer-Net repacked them.

Source: Kumar et al. 2017, IEEE TMI 36, doi 10.1109/TMI.2017.2677499.
"""

from __future__ import annotations

from pathlib import Path

from nucplan.datasets.annotations.instance_maps import SUFFIXES, instance_cases
from nucplan.datasets.finding.picture_folders import NamedPair, find_pairs
from nucplan.datasets.finding.tcga import patient
from nucplan.datasets.source import Format, Source, Track

LAYOUT = """SOURCE/{train,test_same,test_diff}/Images/<stem>.tif       RGB
SOURCE/{train,test_same,test_diff}/Labels/<stem>.mat|npy   inst_map (H, W), or the array itself
SOURCE/Images/{train,test/same_tissue,test/diff_tissue}/<stem>.tif with SOURCE/Labels/**/<stem>.npy (older) is
understood too. Both test sets become the test part."""


def read(folder: Path, track: Track = iter) -> Source:
    """List the images; patients are the groups, where the stems tell them.

    Raises
    ------
    NucplanError
        If the folder does not exist or holds no Images and Labels.
    """
    pairs, faults = find_pairs(folder, SUFFIXES)
    return Source(
        cases=instance_cases(pairs),
        groups={pair.name: _group(pair) for pair in pairs},
        licence=FORMAT.licence,
        citation="Kumar et al. 2017, doi 10.1109/TMI.2017.2677499",
        faults=faults,
    )


def _group(pair: NamedPair) -> str:
    """The patient; other names may be there once per part, and are groups of their own."""
    found = patient(pair.image.stem)
    return pair.name if found == pair.image.stem else found


FORMAT = Format(
    "kumar",
    "H&E",
    "Kumar, 7 organs, with MATLAB or NumPy labels",
    LAYOUT,
    read,
    classes="1",
    mpp="40x, not stated",
    size="16 + 8 + 6 images of 1000 x 1000",
    licence="CC-BY-NC-SA-4.0",
    documented="https://github.com/vqdang/hover_net",
)
