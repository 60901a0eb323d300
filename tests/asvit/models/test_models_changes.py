"""Changing attributes of modules for a while."""

import copy

from torch import nn

from asvit.models._changes import change, put_back, unchanged


class Loud(nn.Identity):
    pass


def test_changes_are_put_back():
    model = nn.Sequential(nn.Conv2d(1, 1, 4, 4), nn.Identity())
    before = [dict(vars(module)) for module in model.modules()]
    change(model[0], stride=(8, 8), dilation=(2, 2))
    change(model[0], stride=(16, 16))  # what is kept is the first value
    change(model[1], __class__=Loud)
    assert (model[0].stride, type(model[1])) == ((16, 16), Loud)
    assert unchanged(model[0], "stride") == (4, 4)
    assert unchanged(model[0], "padding") == (0, 0)
    assert unchanged(model[1], "__class__") is nn.Identity
    put_back(model)
    put_back(model)
    assert type(model[1]) is nn.Identity
    assert [vars(module) for module in model.modules()] == before


def test_copies_are_put_back_by_themselves():
    model = nn.Sequential(nn.Conv2d(1, 1, 4, 4))
    change(model[0], stride=(8, 8))
    twin = copy.deepcopy(model)
    put_back(model)
    assert (model[0].stride, twin[0].stride) == ((4, 4), (8, 8))
    put_back(twin)
    assert twin[0].stride == (4, 4)
