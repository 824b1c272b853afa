"""Named designs of the literature: their exact sizes, and what their papers print."""

import re

import pytest

from skipsearch.classics import CLASSICS, Classic, classic
from skipsearch.classics.classifiers import CLASSIFIERS
from skipsearch.cost import cost
from skipsearch.errors import DesignError

# Exact sizes. Those of ImageNet are the num_params that torchvision publishes beside its weights;
# DenseNet-BC-100's 769,162 stands in the log of the authors' own code (liuzhuang13/DenseNet); the
# others were counted once with a prototype apart from this code.
PARAMS = {
    "plain-20": 269_722,  # a plain network has no fewer than its ResNet with option A
    "plain-32": 464_154,
    "plain-44": 658_586,
    "plain-56": 853_018,
    "resnet-20": 269_722,
    "resnet-32": 464_154,
    "resnet-44": 658_586,
    "resnet-56": 853_018,
    "resnet-110": 1_727_962,
    "resnet-164": 1_704_154,
    "preresnet-110": 1_730_522,
    "preresnet-164": 1_703_258,
    "preresnet-1001": 10_327_706,
    "se-resnet-110": 1_744_952,
    "wrn-28-10": 36_479_194,
    "wrn-40-8": 35_748_314,
    "densenet-bc-100": 769_162,
    "resnet-18": 11_689_512,
    "resnet-34": 21_797_672,
    "resnet-50": 25_557_032,
    "resnet-101": 44_549_160,
    "resnet-152": 60_192_808,
    "resnext-50-32x4d": 25_028_904,
    "wide-resnet-50-2": 68_883_240,
    "densenet-121": 7_978_856,
    "densenet-161": 28_681_000,
    "ror-110": 1_727_962 + (16 + 2) * 64 + (16 + 2) * 32 + (32 + 2) * 64,  # 0>3, 1>2, 2>3
    "pre-ror-110": 1_727_962 + 16 * 64 + 16 * 32 + 32 * 64,
    # timm's, less the norm of each stage's first projection, which here is the branch's.
    "dpn-68": 12_611_602 - 2 * (10 + 144 + 320 + 704),
    "dpn-92": 37_668_392 - 2 * (64 + 336 + 704 + 1552),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_size_of_every_classic_is_the_one_written_down(name: str) -> None:
    entry = CLASSICS[name]
    counted = cost(entry.design, entry.in_channels, entry.image_size, entry.classes)
    assert counted.params == entry.params == PARAMS[name]


def test_resnet_110_with_projections() -> None:
    # Counted once with a prototype apart from this code.
    assert cost(CLASSICS["resnet-110"].design.replace(shortcut="proj")).params == 1_730_714


@pytest.mark.parametrize("name", [name for name in CLASSICS if CLASSICS[name].published_params])
def test_the_size_is_the_one_printed_in_the_paper(name: str) -> None:
    entry = CLASSICS[name]
    number = re.fullmatch(r"(\d+)\.?(\d*)M", entry.published_params)
    assert number, entry.published_params
    digits = len(number[2])
    # Some papers cut the last digit where others round it; some count the weights alone.
    assert entry.params / 1e6 == pytest.approx(
        float(f"{number[1]}.{number[2]}"), abs=1.3 * 10.0**-digits
    )


# Top-1 test errors in %. He et al. 2015, arXiv:1512.03385, Tables 2, 3 and 6; He et al. 2016,
# arXiv:1603.05027, Tables 2 and 3; Huang et al. 2017, arXiv:1608.06993, Table 2.
ERRORS = {
    "resnet-20": 8.75,
    "resnet-32": 7.51,
    "resnet-44": 7.17,
    "resnet-56": 6.97,
    "resnet-110": 6.43,
    "resnet-164": 5.93,
    "preresnet-110": 6.37,
    "preresnet-164": 5.46,
    "preresnet-1001": 4.92,
    "densenet-bc-100": 4.51,
    "resnet-34": 24.52,
    "resnet-50": 22.85,
    "resnet-101": 21.75,
    "resnet-152": 21.43,
}


@pytest.mark.parametrize("name", ERRORS)
def test_the_error_is_the_published_one(name: str) -> None:
    assert CLASSICS[name].error == ERRORS[name]


@pytest.mark.parametrize("name", CLASSICS)
def test_every_classic_names_its_paper_and_where_its_error_stands(name: str) -> None:
    entry = CLASSICS[name]
    assert re.search(r"\b(19|20)\d\d, .+, arXiv:\d{4}\.\d{5}$", entry.paper)
    assert entry.error is None or (0 < entry.error < 100 and entry.error_source)


# The number in a name counts the layers with weights: the stem, the branches' and the transitions'
# convolutions, and the linear layer (He et al. 2015, section 4.2: 6n + 2). Zagoruyko & Komodakis
# 2016 count convolutions alone, the three projections among them (6n + 4).
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_depth_in_the_name_is_that_of_the_network(name: str) -> None:
    plan = CLASSICS[name].design.plan()
    chains = [plan.stem]
    for stage in plan.stages:
        chains += [stage.transition, *(block.branch for block in stage.blocks)]
    convolutions = sum(step.op == "conv" for steps in chains for step in steps)
    depth = next(int(part) for part in name.split("-") if part.isdecimal())
    assert depth == convolutions + (3 if name.startswith("wrn") else 1)


def test_a_classic_is_found_by_its_name_in_any_case() -> None:
    assert isinstance(classic("ResNet-110"), Classic)
    assert classic("ResNet-110") is CLASSICS["resnet-110"]


def test_an_unknown_classic_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        DesignError, match=r"'resnet-111' is not one of .* \(did you mean 'resnet-1"
    ):
        classic("resnet-111")
