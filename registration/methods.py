"""The registration methods that a batch can run, by name.

Single frames: a method is a module-level function ``(template, scan, landmarks, positions, options) -> result`` as
`affect3d.registration.nonrigid.register_nonrigid`; its options are a frozen dataclass of plain values.
Sequences: a method is a follower of `affect3d.registration.follow`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from affect3d.registration.amberg import AmbergOptions, register_amberg
from affect3d.registration.follow import TrackFollower, UVFollower
from affect3d.registration.nonrigid import NonRigidOptions, register_nonrigid
from affect3d.registration.sequence import SequenceOptions
from affect3d.registration.uv import UVOptions

__all__ = ["ALIASES", "METHODS", "SEQUENCE_METHODS", "Method", "method_named"]


@dataclass(frozen=True)
class Method:
    """A method, a function or a follower, and the class of its options; without any its defaults are used."""

    function: Callable
    options: type

    def described(self, options=None) -> dict:
        """Options as plain values, for records."""
        return asdict(self.options() if options is None else options)


METHODS: dict[str, Method] = {
    "nonrigid": Method(register_nonrigid, NonRigidOptions), "amberg": Method(register_amberg, AmbergOptions),
}  # fmt: skip
#: Methods that follow a sequence; they take whole sequences as jobs.
SEQUENCE_METHODS: dict[str, Method] = {
    "track": Method(TrackFollower, SequenceOptions), "uv": Method(UVFollower, UVOptions),
}  # fmt: skip
#: Other names: what the papers call a method.
ALIASES = {"nicp": "nonrigid"}


def method_named(name: str) -> Method:
    """A method by its name or alias.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    name = ALIASES.get(name, name)
    known = METHODS | SEQUENCE_METHODS
    if name not in known:
        raise ValueError(f"method: expected one of {', '.join([*known, *ALIASES])}, got {name!r}")
    return known[name]
