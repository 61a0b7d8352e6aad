"""People who do not exist, rendered from the head model, with labelled expressions."""

from affect3d.synthesis.rendered_people.make import KINDS, PeopleOptions, make_data
from affect3d.synthesis.rendered_people.photographed import sampled_skins
from affect3d.synthesis.rendered_people.shots import DISFA_UNITS, EMOTION_SETS

__all__ = ["DISFA_UNITS", "EMOTION_SETS", "KINDS", "PeopleOptions", "make_data", "sampled_skins"]
