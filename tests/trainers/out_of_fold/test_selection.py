"""Which networks an option means."""

from __future__ import annotations

import pytest

from nucplan.errors import NucplanError
from nucplan.layout import PLANS_NAME
from trainers import CONFIGS
from trainers.out_of_fold.selection import plans_of_configs


def test_one_name_is_for_all_configs_and_a_config_may_have_its_own():
    assert plans_of_configs("mine") == dict.fromkeys(CONFIGS, "mine")
    assert plans_of_configs("mine,boundary=other") == dict.fromkeys(CONFIGS, "mine") | {"boundary": "other"}
    assert plans_of_configs("boundary=other")["baseline"] == PLANS_NAME


@pytest.mark.parametrize(("text", "part"), [("a,b", "names 2 plans for all configs"), ("best=a", "no config 'best'")])
def test_names_that_are_for_no_config_are_refused(text, part):
    with pytest.raises(NucplanError, match=part):
        plans_of_configs(text)
