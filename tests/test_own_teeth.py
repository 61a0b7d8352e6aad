"""Upper teeth of a photo told from what goes down with the jaw."""

import cv2
import numpy as np
import pytest

from affect3d.synthesis.own_teeth import staying, upper_teeth

DOWN = np.array([0.0, 1.0])


def mouth(lower=0.5):
    """An opening of 60 x 24 px: ten rows of upper teeth, four of dark, the rest lower teeth; gaps between teeth."""
    light = np.full((80, 100), 0.3)
    inside = np.zeros((80, 100), bool)
    inside[28:52, 20:80] = True
    light[28:38, 20:80] = 0.7
    light[38:42, 20:80] = 0.1
    light[42:52, 20:80] = lower
    light[28:38, 29:80:10] = 0.35  # dark seams between teeth, all the way up
    return light, inside


@pytest.mark.parametrize("lower", [0.1, 0.5, 0.9])
def test_teeth_end_at_the_dark_below_them(lower):
    light, inside = mouth(lower)
    if lower == 0.9:  # teeth below that are brighter than those above are no reason to start there
        light[42:52] = np.where(inside[42:52], lower, light[42:52])
    found = upper_teeth(light, inside, DOWN)
    want = inside & (np.arange(80)[:, None] < 38)
    assert (found != want).sum() <= 2
    assert not (found & ~inside).any()


def test_teeth_that_reach_the_lower_lip_are_kept_whole():
    light, inside = mouth()
    light[inside] = 0.6
    np.testing.assert_array_equal(upper_teeth(light, inside, DOWN), inside)


def test_a_tilted_head_has_the_same_teeth():
    light, inside = mouth()
    turn = cv2.getRotationMatrix2D((49.5, 39.5), 25.0, 1.0)

    def turned(mask):
        return cv2.warpAffine(mask.astype(np.float32), turn, (100, 80), flags=cv2.INTER_LINEAR)

    down = turn[:, :2] @ DOWN
    found = upper_teeth(turned(light), turned(inside) > 0.5, down)
    want = turned(upper_teeth(light, inside, DOWN)) > 0.5
    assert (found & want).sum() / (found | want).sum() > 0.85


def test_no_opening_has_no_teeth():
    light, inside = mouth()
    assert not upper_teeth(light, np.zeros_like(inside), DOWN).any()


def test_what_is_not_upper_teeth_goes_with_the_lower_lip_little_by_little():
    light, inside = mouth()
    upper, rows = upper_teeth(light, inside, DOWN), np.arange(80)[:, None]
    for sunk in range(-4, 12):
        kept = staying(inside, upper, np.roll(inside, sunk, axis=0), DOWN)
        np.testing.assert_array_equal(kept, upper | (inside & (rows < 52 - 2 * max(sunk, 0))))
    shut = staying(inside, upper, np.zeros_like(inside), DOWN)
    np.testing.assert_array_equal(shut, inside)
