"""What regression predictions start from: a model of the training rows that the network's output is added to.

Statistics call such a given part of a prediction an offset, gradient boosting a base margin. The network learns what it
leaves, and need not spend its steps on what a simple model says as well.
"""

from tabstar_lit.families.tabstar.offsets.fitting import OFFSET, less_offsets, offset_from

__all__ = ["OFFSET", "less_offsets", "offset_from"]
