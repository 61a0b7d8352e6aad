"""The registration methods that a batch can run, by name.

A method is a module-level function ``(template, scan, landmarks, positions, options) -> result`` as
`affect3d.registration.nonrigid.register_nonrigid`; its options are a frozen dataclass of plain values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from affect3d.registration.amberg import AmbergOptions, register_amberg
from affect3d.registration.nonrigid import NonRigidOptions, register_nonrigid

__all__ = ["METHODS", "Method", "method_named"]


@dataclass(frozen=True)
class Method:
    """A method and the class of its options, whose defaults are used where none are given."""

    function: Callable
    options: type

    def described(self, options=None) -> dict:
        """Options as plain values, for records."""
        return asdict(self.options() if options is None else options)


METHODS: dict[str, Method] = {
    "nonrigid": Method(register_nonrigid, NonRigidOptions), "amberg": Method(register_amberg, AmbergOptions),
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
    if name not in METHODS:
        raise ValueError(f"method: expected one of {', '.join([*METHODS, *ALIASES])}, got {name!r}")
    return METHODS[name]
