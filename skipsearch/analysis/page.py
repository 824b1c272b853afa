"""The page of a run: sections of text, figures and tables, with files of figures and tables."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from skipsearch.diagram import Diagram
from skipsearch.task import all_metrics
from skipsearch.text import new_folder, write_atomically

# Titles of the columns that bear the name of a metric.
TITLES = {
    f"{split}_{metric.name}": f"{split} {metric.title}"
    for metric in all_metrics()
    for split in ("validation", "train", "search")
}


Form = str | Callable[[float], str]  # a format, or a function that writes a value


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure of a report.

    Attributes:
        name: Name of its files, without extension.
        figure: Figure to show.
        caption: Description of the figure.
        tips: Tooltips of parts, by gid of the part in the figure.
    """

    name: str
    figure: Diagram
    caption: str
    tips: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a report.

    Attributes:
        name: Name of its files, without extension.
        rows: All rows and columns.
        caption: Description of the columns and of the part that is shown.
        columns: Columns on the page, each with its form; none to write only the files.
        top: Number of rows on the page.
    """

    name: str
    rows: pd.DataFrame
    caption: str
    columns: Mapping[str, Form]
    top: int = 12


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a report.

    Attributes:
        title: Title; its first word is the name in links.
        text: Paragraphs of plain text.
        figures: Figures after the text.
        tables: Tables after the figures.
        drawings: Figures at the end, side by side.
        code: Command or text that is shown verbatim.
    """

    title: str
    text: Sequence[str] = ()
    figures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    drawings: Sequence[Picture] = ()
    code: str = ""

    @property
    def id(self) -> str:
        """Name in links."""
        return self.title.split()[0].lower()


def write_page(
    folder: Path,
    title: str,
    subtitle: str,
    answer: Sequence[str],
    picture: Picture | None,
    sections: Sequence[Section],
) -> Path:
    """Write a self-contained page, and its figures and tables as files.

    Args:
        folder: Folder of ``index.html``, ``NAME.svg`` and ``NAME.png`` of each figure, ``NAME.csv``
            and ``NAME.parquet`` of each table; created if it is missing.
        title: Title of the page.
        subtitle: Subject and date.
        answer: Main result in sentences; an axis before a colon is emphasised.
        picture: Figure beside the main result.
        sections: Sections of the page.

    Returns:
        Path of the page.
    """
    with new_folder(folder):
        shown = [
            {
                "id": section.id,
                "title": section.title,
                "text": section.text,
                "figures": [_figure(folder, each) for each in section.figures],
                "drawings": [_figure(folder, each) for each in section.drawings],
                "tables": [_table(folder, table) for table in section.tables],
                "code": section.code,
            }
            for section in sections
        ]
        text = files("skipsearch.analysis").joinpath("page.html").read_text(encoding="utf-8")
        template = jinja2.Environment(
            autoescape=True, undefined=jinja2.StrictUndefined
        ).from_string(text)
        page = folder / "index.html"
        html = template.render(
            title=title,
            subtitle=subtitle,
            answer=answer,
            picture=_figure(folder, picture) if picture else None,
            sections=shown,
        )
        write_atomically(page, html)
        return page


def _figure(folder: Path, picture: Picture) -> dict[str, str]:
    """Write the files of a figure, and return its content on the page."""
    picture.figure.savefig(folder / f"{picture.name}.svg")
    picture.figure.set_layout_engine("none")  # keep the current layout: computing it again is slow
    picture.figure.savefig(folder / f"{picture.name}.png")
    svg = (folder / f"{picture.name}.svg").read_bytes()
    return {
        "picture": _inline(svg.decode(), picture) if picture.tips else _image(svg, picture.caption),
        "caption": picture.caption,
        "file": f"{picture.name}.svg",
    }


def _image(svg: bytes, caption: str) -> Markup:
    # As a separate image: the ids of two drawings in one page would collide.
    data = base64.b64encode(svg).decode()
    return Markup('<img alt="{}" src="data:image/svg+xml;base64,{}">').format(caption, data)


def _inline(svg: str, picture: Picture) -> Markup:
    """Return a drawing as inline SVG, whose parts have tooltips."""
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{picture.name}-", svg[svg.index("<svg") :])
    for gid, tip in picture.tips.items():
        title = Markup('<g id="{0}" class="curve"><title>{1}</title>').format(
            f"{picture.name}-{gid}", tip
        )
        svg = svg.replace(f'<g id="{picture.name}-{gid}">', title)
    return Markup(svg)


def _table(folder: Path, table: Table) -> dict[str, object]:
    """Write the files of a table, and return its content on the page."""
    rows = table.rows.reset_index() if table.rows.index.name else table.rows
    words = rows.select_dtypes(include=["object", "string"]).astype(str)  # levels vary in type
    rows = rows.assign(**{str(name): words[name] for name in words})
    # Not as paths: pandas mistakes some of them for URLs.
    (folder / f"{table.name}.csv").write_text(rows.to_csv(index=False), encoding="utf-8")
    with (folder / f"{table.name}.parquet").open("wb") as file:
        rows.to_parquet(file, index=False)
    shown = {
        name: form
        for name, form in table.columns.items()
        if name in rows and rows[name].notna().any()
    }
    left = len(rows) - table.top
    more = f" {left:,} more rows are in the file." if shown and left > 0 else ""
    kinds = {
        name: "number" if pd.api.types.is_numeric_dtype(rows[name]) else "word" for name in shown
    }
    return {
        "heads": [
            (TITLES.get(name, name if "." in name else name.replace("_", " ")), kinds[name])
            for name in shown
        ],
        "rows": [
            [(_cell(row[name], form), kinds[name]) for name, form in shown.items()]
            for row in rows.head(table.top).to_dict("records")
        ],
        "caption": f"{table.caption}{more}",
        "file": f"{table.name}.csv, {table.name}.parquet",
    }


def _cell(value: Any, form: Form) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if pd.isna(value):
        return ""
    return format(value, form) if isinstance(form, str) else form(value)
