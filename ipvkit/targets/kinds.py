"""The names of the targets."""

from enum import StrEnum


class TargetKind(StrEnum):
    """The targets that a user can choose."""

    AUTO = "auto"
    LOCAL = "local"
    SANDBOX = "sandbox"
    UML = "uml"
