"""The commands of docs/clusters.md, by section, for the tests that run them against stand-ins on this machine."""

from ..blocks import ROOT as ROOT
from ..blocks import section


def commands(heading: str) -> list[str]:
    """The commands of the bash blocks below `heading`."""
    found = section("docs/clusters.md", heading)
    return [line for block in found if block.language == "bash" for line in block.commands]
