"""The parser, and the options that several verbs share."""

from __future__ import annotations

import argparse
from typing import NoReturn, TypeAlias

from skipsearch.cli.console import complain
from skipsearch.cli.words import EXIT_BAD_INPUT, image_size, seconds
from skipsearch.defaults import DATA
from skipsearch.ready import ready_names
from skipsearch.searching.options import Limits, Resources
from skipsearch.task import metric_words


class Parser(argparse.ArgumentParser):
    """The standard parser, with error messages on one line."""

    def error(self, message: str) -> NoReturn:
        """Print the error and how to get help, and exit."""
        complain(f"{message} (see {self.prog} --help)")
        raise SystemExit(EXIT_BAD_INPUT)


Verbs: TypeAlias = "argparse._SubParsersAction[Parser]"


def add_space(verb: Parser) -> None:
    """Add the space as the first argument."""
    verb.add_argument(
        "space", metavar="SPACE", help=f"a .yaml file, or one of {', '.join(ready_names())}"
    )


def add_run(verb: Parser) -> None:
    """Add the run folder as the first argument."""
    verb.add_argument("run", metavar="RUN")


def add_images(verb: Parser) -> None:
    """Add the options that describe the images if no data are loaded."""
    verb.add_argument(
        "--in-channels", type=int, metavar="C", help="channels of the images (default 3)"
    )
    verb.add_argument(
        "--image-size",
        type=image_size,
        metavar="PIXELS",
        help="side of square images, or HxW such as 96x128 (default 32)",
    )
    verb.add_argument("--classes", type=int, metavar="N", help="number of classes (default 10)")


def add_csv(verb: Parser, name: str) -> None:
    """Add the option for the output file of a verb's table.

    Args:
        verb: Parser of the verb.
        name: Name of the file among the tables of the report.
    """
    verb.add_argument(
        "--csv", metavar="FILE", help=f"file of the table (default: RUN/report/{name})"
    )


def add_device(verb: Parser) -> None:
    """Add the option for the training device."""
    verb.add_argument("--device", default=None, help="cpu, cuda, ... (default: cuda if available)")


def add_moved_data(verb: Parser) -> None:
    """Add the options for the current location of a run's data."""
    verb.add_argument(
        "--data", metavar="NAME", help="current location of the data (default: as in the search)"
    )
    verb.add_argument(
        "--data-root",
        metavar="DIR",
        help="folder of the data set's files (default: as in the search)",
    )


def add_deterministic(verb: argparse._ActionsContainer) -> None:
    """Add the option for bitwise reproducible training on a GPU."""
    verb.add_argument(
        "--deterministic",
        action="store_true",
        help="bitwise reproducible training on a GPU, at some cost of speed",
    )


def add_training(verb: Parser) -> None:
    """Add the options for the data and for training."""
    group = verb.add_argument_group("data and training")
    group.add_argument(
        "--data",
        default=DATA,
        metavar="NAME",
        help="%(default)s (default), cifar10, cifar100, fashion-mnist, mnist, svhn, digits-seg, a"
        " folder, an .npz",
    )
    group.add_argument("--data-root", metavar="DIR", help="folder of the data set's files")
    group.add_argument(
        "--image-size",
        type=image_size,
        metavar="PIXELS",
        help="side of the squares to resize images to, or HxW such as 96x128",
    )
    group.add_argument(
        "--denoise",
        type=float,
        metavar="SIGMA",
        help="remove noise of this standard deviation (grey levels of 0..255) from the images",
    )
    group.add_argument(
        "--skip-damaged",
        action="store_true",
        help="leave out image files of a folder that cannot be read, and report them",
    )
    group.add_argument(
        "--group-folders",
        action="store_true",
        help="keep the images of a folder inside the folder of a class, such as a patient, in one"
        " split",
    )
    group.add_argument(
        "--no-cache",
        dest="cache",
        action="store_false",
        help="decode a folder of images anew instead of once into ~/.cache/skipsearch/decoded"
        " (or skipsearch/decoded in $XDG_CACHE_HOME, or decoded in --data-root)",
    )
    group.add_argument(
        "--metric",
        metavar="W",
        help=f"score of the networks, the default of each task first ({metric_words()})",
    )
    group.add_argument(
        "--seed", type=int, default=0, metavar="S", help="seed of all random choices (default 0)"
    )
    group.add_argument(
        "--recipe",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a field of the recipe, such as peak_lr=0.4; may be repeated",
    )
    add_deterministic(group)


def add_session(verb: Parser) -> None:
    """Add the options for the resources and limits of a session of trainings."""
    group = verb.add_argument_group("resources")
    group.add_argument(
        "--concurrency", type=int, metavar="K", help="maximum number of concurrent trials"
    )
    group.add_argument(
        "--cpus-per-trial",
        type=float,
        default=Resources.cpus_per_trial,
        metavar="C",
        help="number of cores per trial (default %(default)g)",
    )
    group.add_argument(
        "--gpus-per-trial",
        type=float,
        metavar="G",
        help="number of GPUs per trial, or a fraction such as 0.25",
    )
    group.add_argument(
        "--address", metavar="A", help="address of a Ray cluster to join: host:port or auto"
    )
    group.add_argument(
        "--insecure", action="store_true", help="join a cluster without token authentication"
    )
    group.add_argument(
        "--dashboard",
        action="store_true",
        help="start Ray's dashboard, for this machine alone (ray[default])",
    )
    group.add_argument("--verbose", action="store_true", help="show the output of Ray")
    group = verb.add_argument_group("limits")
    group.add_argument(
        "--time-budget",
        type=seconds,
        metavar="T",
        help="time limit of the session, such as 90s, 20m or 2h",
    )
    group.add_argument("--trial-timeout", type=seconds, metavar="T", help="time limit of one trial")
    group.add_argument(
        "--max-failures",
        type=int,
        default=Limits.max_failures,
        metavar="N",
        help="number of consecutive failed trials that stops the search"
        " (default %(default)s); a pack counts as one",
    )
