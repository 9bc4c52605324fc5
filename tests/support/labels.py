"""What every figure must say, whoever draws it."""

from __future__ import annotations

from matplotlib.figure import Figure


def unlabelled(figure: Figure) -> list[str]:
    """Return which visible axes of a figure have no label; shared ones need theirs at the figure's edge only."""
    missing = []
    for number, axes in enumerate(figure.axes):
        if not axes.axison or not axes.get_visible():
            continue
        bottom = not axes.get_shared_x_axes().get_siblings(axes)[1:] or axes.get_subplotspec().is_last_row()
        left = not axes.get_shared_y_axes().get_siblings(axes)[1:] or axes.get_subplotspec().is_first_col()
        is_colorbar = axes.get_label() == "<colorbar>"
        if bottom and not axes.get_xlabel() and not is_colorbar:
            missing.append(f"x of panel {number}")
        if left and not axes.get_ylabel():
            missing.append(f"y of panel {number}")
    return missing
