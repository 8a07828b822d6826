"""CPM17 and CPM15, the nuclei challenges of MICCAI 2017 and 2015, as the authors of HoVer-Net repacked them.

Source: Vu et al. 2019, Frontiers in Bioengineering and Biotechnology 7, doi 10.3389/fbioe.2019.00053.
"""

from __future__ import annotations

from pathlib import Path

from nucplan.datasets.annotations.instance_maps import SUFFIXES, instance_cases
from nucplan.datasets.finding.picture_folders import find_pairs
from nucplan.datasets.source import NO_GROUPS_KNOWN, Format, Source, Track

LAYOUT = """SOURCE/{train,test}/Images/image_00.png   RGB
SOURCE/{train,test}/Labels/image_00.mat   inst_map (H, W); the stems of train and test are the same
SOURCE/{Images,Labels}/ (CPM15) is understood too, without a test part."""


def read(folder: Path, track: Track = iter) -> Source:
    """List the images, named by part where train and test share stems.

    Raises
    ------
    NucplanError
        If the folder does not exist or holds no Images and Labels.
    """
    pairs, faults = find_pairs(folder, SUFFIXES)
    return Source(
        cases=instance_cases(pairs),
        citation="CPM17, Vu et al. 2019, doi 10.3389/fbioe.2019.00053",
        faults=faults,
        remarks=(NO_GROUPS_KNOWN,),
    )


FORMAT = Format(
    "cpm17",
    "H&E",
    "CPM17 and CPM15, brain, head and neck, lung, with MATLAB labels",
    LAYOUT,
    read,
    classes="1",
    mpp="unknown (20x and 40x)",
    size="32 + 32 images of 500 to 600 pixels",
    licence="none stated",
    documented="https://github.com/vqdang/hover_net",
)
