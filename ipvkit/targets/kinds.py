"""The names of the targets."""

from enum import StrEnum


class TargetKind(StrEnum):
    """The targets that a person can name."""

    AUTO = "auto"
    LOCAL = "local"
    SANDBOX = "sandbox"
    UML = "uml"
