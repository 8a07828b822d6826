"""Kumar: the first 30 images of MoNuSeg in the split of the paper, as the authors of HoVer-Net repacked them.

Source: Kumar et al. 2017, IEEE TMI 36, doi 10.1109/TMI.2017.2677499.
"""

from __future__ import annotations

from pathlib import Path

from nucplan.datasets.finding.instance_pairs import read_instance_pairs
from nucplan.datasets.source import Format, Source, Track

LAYOUT = """SOURCE/{train,test_same,test_diff}/Images/<stem>.tif       RGB
SOURCE/{train,test_same,test_diff}/Labels/<stem>.mat|npy   inst_map (H, W), or the array itself
SOURCE/Images/{train,test/same_tissue,test/diff_tissue}/<stem>.tif with SOURCE/Labels/**/<stem>.npy (older) is
understood too. Both test sets become the test part."""


def read(folder: Path, track: Track = iter) -> Source:
    """List the images.

    Raises
    ------
    NucplanError
        If the folder does not exist or holds no Images and Labels.
    """
    return read_instance_pairs(folder, "Kumar et al. 2017, doi 10.1109/TMI.2017.2677499", FORMAT.licence, 0.25)


FORMAT = Format(
    "kumar",
    "H&E",
    "Kumar, 7 organs, with MATLAB or NumPy labels",
    LAYOUT,
    read,
    classes="1",
    mpp="0.25",
    size="16 + 8 + 6 images of 1000 x 1000",
    licence="CC-BY-NC-SA-4.0",
    documented="https://github.com/vqdang/hover_net",
)
