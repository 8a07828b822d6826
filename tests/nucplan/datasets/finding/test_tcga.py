from __future__ import annotations

import pytest

from nucplan.datasets.finding.tcga import hospital, patient


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TCGA-A2-A0ES-01Z-00-DX1", ("TCGA-A2-A0ES", "A2")),
        ("TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500", ("TCGA-A1-A0SK", "A1")),
        ("tcga-e2-a14n", ("TCGA-E2-A14N", "E2")),
        ("TCGA-A2", ("TCGA-A2", "TCGA-A2")),
        ("my slide", ("my slide", "my slide")),
    ],
)
def test_barcodes_tell_patient_and_hospital_and_other_names_stay(name: str, expected: tuple[str, str]):
    assert (patient(name), hospital(name)) == expected
