"""A phase of a lab as a picture: who reaches whom, as text, Mermaid, DOT, SVG and HTML."""

from typing import Literal

Format = Literal["text", "mermaid", "dot", "svg", "html"]
"""What a picture is written as: each is a module of that name with a function `render`."""
