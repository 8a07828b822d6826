"""``--classes`` keeps, merges and leaves out; what is left out is to be ignored and is no background."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nucplan.datasets.class_selection import select_classes
from nucplan.datasets.source import Annotated
from nucplan.errors import NucplanError

SOURCE = ("tumour", "stroma", "dead", "T cell")


@pytest.mark.parametrize(
    ("text", "names", "new_of"),
    [
        (None, SOURCE, [1, 2, 3, 4]),
        ("tumour,stroma", ("tumour", "stroma"), [1, 2, 0, 0]),
        ("dead,tumour", ("dead", "tumour"), [2, 0, 1, 0]),
        ("tumour,other=stroma+dead", ("tumour", "other"), [1, 2, 2, 0]),
        ("nucleus=*", ("nucleus",), [1, 1, 1, 1]),
        ("rest=*,dead", ("rest", "dead"), [1, 1, 2, 1]),
        ("stroma=tumour,tumour=stroma", ("stroma", "tumour"), [1, 2, 0, 0]),
        (" immune = T cell , other = stroma + dead ", ("immune", "other"), [0, 2, 2, 1]),
        ("other=dead+*", ("other",), [1, 1, 1, 1]),
    ],
)
def test_the_grammar(text: str | None, names: tuple[str, ...], new_of: list[int]):
    selection = select_classes(text, SOURCE)
    assert selection.names == names
    assert selection.new_of == dict(enumerate(new_of, start=1))


def test_names_of_the_source_may_hold_the_signs_of_the_grammar():
    source = ("CD3+", "CD3-", "CD3", "CD3+,CD8+", "a=b")
    assert select_classes("CD3+", source).new_of == {1: 1, 2: 0, 3: 0, 4: 0, 5: 0}
    assert select_classes("T=CD3++CD3+,CD8+ , CD3,x=a=b", source).new_of == {1: 1, 2: 0, 3: 2, 4: 1, 5: 3}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tumor", "no class 'tumor'; its classes are tumour, stroma, dead, T cell"),
        ("a=tumour+tumor", "no class 'tumor'"),
        ("tumour,tumour", "'tumour' twice"),
        ("tumour,a=tumour+dead", "'tumour' twice"),
        ("a=*,b=*", r"'\*' twice"),
        ("", "lacks the name"),
        ("tumour,", "lacks the name"),
        ("=tumour", "lacks the name"),
        ("*", "lacks the name"),
        ("a=tumour+", "no class ''"),
        ("tumour+dead", "cannot be read at 'dead'"),
        ("a=tumour=dead", "cannot be read at 'dead'"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, message: str):
    with pytest.raises(NucplanError, match=message) as caught:
        select_classes(text, SOURCE)
    assert "\n" not in str(caught.value)


annotations = arrays(np.int32, (6, 7), elements=st.integers(0, 5)).flatmap(
    lambda instances: st.fixed_dictionaries(
        {int(i): st.integers(1, len(SOURCE)) for i in np.unique(instances) if i}
    ).map(lambda class_of: (instances, class_of))
)


@given(annotations, st.lists(st.integers(0, 2), min_size=4, max_size=4).filter(any), st.booleans())
@settings(max_examples=80, deadline=None)
def test_kept_nuclei_stay_as_they_are_and_the_others_are_ignored_and_counted(annotated, targets, has_ignored):
    instances, class_of = annotated
    ignored = np.zeros(instances.shape, bool)
    ignored[0] = instances[0] == 0
    merged = ["+".join(name for name, t in zip(SOURCE, targets, strict=True) if t == k) for k in (1, 2)]
    text = ",".join(f"new{k}={old}" for k, old in enumerate(merged, start=1) if old)
    new_names = [f"new{k}" for k, old in enumerate(merged, start=1) if old]
    given_ = Annotated(np.zeros(instances.shape, np.uint8), instances, class_of, ignored if has_ignored else None)
    made = select_classes(text, SOURCE).apply(given_)
    kept = {i: targets[k - 1] for i, k in class_of.items() if targets[k - 1]}
    assert {i: new_names[k - 1] for i, k in made.class_of.items()} == {i: f"new{t}" for i, t in kept.items()}
    np.testing.assert_array_equal(made.instances, np.where(np.isin(instances, list(kept)), instances, 0))
    dropped = (instances > 0) & (made.instances == 0)
    expected = dropped | ignored if has_ignored else dropped
    np.testing.assert_array_equal(np.zeros(instances.shape, bool) if made.ignored is None else made.ignored, expected)
    assert sum(made.left_out.values()) == len(class_of) - len(kept)
