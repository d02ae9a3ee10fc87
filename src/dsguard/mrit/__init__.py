"""mRIT: the shape-dependent side of the codec. The pixel work is in `dsguard.kernels`."""

from dsguard.mrit.carrier import neutral_payload
from dsguard.mrit.geometry import Geometry, Tile, plan

__all__ = ["Geometry", "Tile", "neutral_payload", "plan"]
