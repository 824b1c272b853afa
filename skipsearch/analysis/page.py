"""A run as one page: sections of words, figures and tables, each of them a file as well."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from skipsearch.diagram import Diagram
from skipsearch.text import write_atomically


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure of a report.

    Attributes:
        name: Of its files, without an ending.
        figure: What it shows.
        caption: What is to be seen in it.
        tips: What a reader is told who points at a part, by the part's gid in the figure.
    """

    name: str
    figure: Diagram
    caption: str
    tips: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of a report.

    Attributes:
        name: Of its files, without an ending.
        rows: All of it.
        caption: What its columns are, and what of it is shown.
        columns: Those that the page shows, each with its format; none for a file alone.
        top: Rows that the page shows.
    """

    name: str
    rows: pd.DataFrame
    caption: str
    columns: Mapping[str, str]
    top: int = 12


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a report.

    Attributes:
        title: Of the part; its first word names it in links.
        text: Paragraphs, in plain words.
        figures: Shown after the words.
        tables: Shown after the figures.
        drawings: Figures shown last, side by side.
        code: A command or a text to be kept as it is.
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
    folder: Path, title: str, subtitle: str, answer: Sequence[str], sections: Sequence[Section]
) -> Path:
    """Write a page that needs nothing beside it, and its figures and tables as files.

    Args:
        folder: Of ``index.html``, ``NAME.svg`` and ``NAME.png`` of each figure, ``NAME.csv`` and
            ``NAME.parquet`` of each table; made where it is missing.
        title: Of the page.
        subtitle: Of what, and when.
        answer: What the reader came for, in sentences; the first stands out.
        sections: The rest.

    Returns:
        The page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown = [
        {
            "id": section.id,
            "title": section.title,
            "text": section.text,
            "figures": [_figure(folder, picture) for picture in section.figures],
            "drawings": [_figure(folder, picture) for picture in section.drawings],
            "tables": [_table(folder, table) for table in section.tables],
            "code": section.code,
        }
        for section in sections
    ]
    text = files("skipsearch.analysis").joinpath("page.html").read_text(encoding="utf-8")
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        text
    )
    page = folder / "index.html"
    html = template.render(title=title, subtitle=subtitle, answer=answer, sections=shown)
    write_atomically(page, html)
    return page


def _figure(folder: Path, picture: Picture) -> dict[str, str]:
    """Write a figure, and return what the page shows of it."""
    picture.figure.savefig(folder / f"{picture.name}.svg")
    picture.figure.set_layout_engine("none")  # as it has been laid out now: that takes a while
    picture.figure.savefig(folder / f"{picture.name}.png")
    svg = (folder / f"{picture.name}.svg").read_bytes()
    return {
        "picture": _inline(svg.decode(), picture) if picture.tips else _image(svg, picture.caption),
        "caption": picture.caption,
        "file": f"{picture.name}.svg",
    }


def _image(svg: bytes, caption: str) -> Markup:
    # An image of its own: the ids of two drawings in one page would meet.
    data = base64.b64encode(svg).decode()
    return Markup('<img alt="{}" src="data:image/svg+xml;base64,{}">').format(caption, data)


def _inline(svg: str, picture: Picture) -> Markup:
    """Return a drawing as a part of the page, where one can point at its parts."""
    svg = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{picture.name}-", svg[svg.index("<svg") :])
    for gid, tip in picture.tips.items():
        title = Markup('<g id="{0}" class="curve"><title>{1}</title>').format(
            f"{picture.name}-{gid}", tip
        )
        svg = svg.replace(f'<g id="{picture.name}-{gid}">', title)
    return Markup(svg)


def _table(folder: Path, table: Table) -> dict[str, object]:
    """Write a table, and return what the page shows of it."""
    rows = table.rows.reset_index() if table.rows.index.name else table.rows
    words = rows.select_dtypes(include=["object", "string"]).astype(str)  # levels are of many types
    rows = rows.assign(**{str(name): words[name] for name in words})
    # As open files: pandas takes some paths for URLs.
    (folder / f"{table.name}.csv").write_text(rows.to_csv(index=False), encoding="utf-8")
    with (folder / f"{table.name}.parquet").open("wb") as file:
        rows.to_parquet(file, index=False)
    shown = {name: form for name, form in table.columns.items() if name in rows}
    left = len(rows) - table.top
    more = f" {left:,} more rows are in the file." if shown and left > 0 else ""
    kinds = {
        name: "number" if pd.api.types.is_numeric_dtype(rows[name]) else "word" for name in shown
    }
    return {
        "heads": [(name.replace("_", " "), kinds[name]) for name in shown],
        "rows": [
            [(_cell(row[name], form), kinds[name]) for name, form in shown.items()]
            for row in rows.head(table.top).to_dict("records")
        ],
        "caption": f"{table.caption}{more}",
        "file": f"{table.name}.csv, {table.name}.parquet",
    }


def _cell(value: Any, form: str) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return "" if pd.isna(value) else format(value, form)
