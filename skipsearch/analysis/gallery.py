"""The section of a report that shows predictions of the leader."""

from __future__ import annotations

import pandas as pd

from skipsearch.analysis.figures import plot_gallery
from skipsearch.analysis.findings import Findings
from skipsearch.analysis.page import Picture, Section, Table
from skipsearch.errors import counted
from skipsearch.gallery import ERROR_GAIN
from skipsearch.metric import MEAN_IOU

TITLE = "Predictions of the leader"


def gallery_section(found: Findings) -> Section | None:
    """Show predictions of the leader or the confirmed winner, if the task is per pixel."""
    if not found.config.task.per_pixel:
        return None
    gallery, metric = found.gallery, found.metric
    if gallery is None:
        advice = "'skipsearch export' trains the leader and keeps predictions for the next report."
        return Section(title=TITLE, text=[f"None are known yet: {advice}"])
    if gallery.task.restores:
        errors = f"Errors are {ERROR_GAIN} times as bright as they are."
    else:
        errors = "Errors are orange; ignored pixels are grey."
    images = counted(gallery.count, "validation image")
    picture = Picture(
        name="predictions",
        figure=plot_gallery(gallery),
        caption=f"The best, the median and the worst of {images}"
        f" by the {metric.title} of each, of the exported network. {errors}",
    )
    over = "images" if gallery.groups is None else counted(gallery.groups, "group") + " of images"
    rows = pd.DataFrame(
        [(name, *values) for name, values in gallery.overlaps.items()],
        columns=["class", "iou", "low", "high"],
    )
    table = Table(
        name="classes",
        rows=rows,
        columns={"class": "s"} | dict.fromkeys(("iou", "low", "high"), MEAN_IOU.cell),
        caption="iou: intersection over union of a class over all validation images, of the"
        f" exported network; low, high: 95 % interval by bootstrap over {over}. Another seed is"
        " another network.",
        top=60,
    )
    return Section(title=TITLE, figures=[picture], tables=[table] if len(rows) else [])
