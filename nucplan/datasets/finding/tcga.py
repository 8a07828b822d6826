"""Names of The Cancer Genome Atlas: ``TCGA-A2-A0ES-01Z-00-DX1`` is a slide of the patient ``TCGA-A2-A0ES``.

The second field, here ``A2``, is the hospital that gave the tissue. Documented:
https://docs.gdc.cancer.gov/Encyclopedia/pages/TCGA_Barcode/
"""

from __future__ import annotations

import re

_BARCODE = re.compile(r"TCGA-(?P<site>\w{2})-\w{4}", re.IGNORECASE)


def patient(name: str) -> str:
    """The patient in a name that starts with a barcode; other names as they are."""
    match = _BARCODE.match(name)
    return match[0].upper() if match else name


def hospital(name: str) -> str:
    """The tissue source site in a name that starts with a barcode; other names as they are."""
    match = _BARCODE.match(name)
    return match["site"].upper() if match else name
