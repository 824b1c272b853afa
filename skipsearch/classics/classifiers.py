"""Networks that classify images."""

from __future__ import annotations

from skipsearch.classics.entry import (
    BOTTLENECK,
    BOTTLENECK_PREACTIVATION,
    DENSE,
    FULL_PREACTIVATION,
    ORIGINAL,
    PLAIN,
    RESIDUAL_OF_RESIDUAL,
    Classic,
)
from skipsearch.design import Design

RESNET = "He et al. 2015, Deep Residual Learning, arXiv:1512.03385"
PRERESNET = "He et al. 2016, Identity Mappings in Deep Residual Networks, arXiv:1603.05027"
ROR = "Zhang et al. 2016, Residual Networks of Residual Networks, arXiv:1608.02908"
DPN = "Chen et al. 2017, Dual Path Networks, arXiv:1707.01629"
DENSENET = "Huang et al. 2017, Densely Connected Convolutional Networks, arXiv:1608.06993"
WRN = "Zagoruyko & Komodakis 2016, Wide Residual Networks, arXiv:1605.07146"
RESNEXT = "Xie et al. 2017, Aggregated Residual Transformations, arXiv:1611.05431"
SENET = "Hu et al. 2018, Squeeze-and-Excitation Networks, arXiv:1709.01507"


def _cifar(
    layout: str,
    depth: int,
    params: int,
    published_params: str,
    error: float | None,
    error_source: str,
    *,
    paper: str = RESNET,
    shortcut: str = "pad",
    widths: tuple[int, int, int] = (16, 32, 64),
    bottleneck_ratio: float = 1.0,
    links: tuple[str, ...] = (),
) -> Classic:
    """Return a CIFAR-10 network: a stem of width 16 and three stages of ``depth`` blocks."""
    return Classic(
        design=Design(
            layout=layout,
            depths=(depth, depth, depth),
            widths=widths,
            stem_width=16,
            shortcut=shortcut,
            bottleneck_ratio=bottleneck_ratio,
            links=links,
        ),
        paper=paper,
        params=params,
        published_params=published_params,
        error=error,
        error_source=error_source,
    )


def _imagenet(
    layout: str,
    depths: tuple[int, int, int, int],
    params: int,
    published_params: str,
    error: float | None,
    error_source: str,
    *,
    paper: str = RESNET,
    width: int = 64,
    bottleneck_ratio: float = 1.0,
    groups: int = 1,
) -> Classic:
    """Return an ImageNet network of four stages after a 7x7 stem with pooling."""
    return Classic(
        design=Design(
            layout=layout,
            depths=depths,
            widths=(width, 2 * width, 4 * width, 8 * width),
            stem="conv7-pool",
            stem_width=64,
            shortcut="proj",
            bottleneck_ratio=bottleneck_ratio,
            groups=groups,
        ),
        paper=paper,
        params=params,
        published_params=published_params,
        error=error,
        error_source=error_source,
        image_size=224,
        classes=1000,
    )


def _dual_path(
    depths: tuple[int, int, int, int],
    growth: tuple[int, int, int, int],
    params: int,
    *,
    width: int,
    inner: int,
    stem: int,
) -> Classic:
    """Return a dual path network with 32 groups."""
    return Classic(
        design=Design(
            layout=BOTTLENECK_PREACTIVATION,
            merge="dual",
            depths=depths,
            widths=(width, 2 * width, 4 * width, 8 * width),
            stem=f"conv{stem}-bn-relu-pool",
            stem_width=10 if stem == 3 else 64,
            bottleneck_ratio=inner / width,
            groups=32,
            growth=growth,
        ),
        paper=DPN,
        params=params,
        image_size=224,
        classes=1000,
    )


TABLE_6 = "Table 6"
PRE_TABLE_2 = "Table 2, median of 5"

# fmt: off
CLASSIFIERS: dict[str, Classic] = {
    # The paper shows its plain nets only in a figure (Fig. 6, left), without numbers.
    "plain-20": _cifar(PLAIN, 3, 269_722, "0.27M", None, "Fig. 6"),
    "plain-32": _cifar(PLAIN, 5, 464_154, "0.46M", None, "Fig. 6"),
    "plain-44": _cifar(PLAIN, 7, 658_586, "0.66M", None, "Fig. 6"),
    "plain-56": _cifar(PLAIN, 9, 853_018, "0.85M", None, "Fig. 6"),
    "resnet-20": _cifar(ORIGINAL, 3, 269_722, "0.27M", 8.75, TABLE_6),
    "resnet-32": _cifar(ORIGINAL, 5, 464_154, "0.46M", 7.51, TABLE_6),
    "resnet-44": _cifar(ORIGINAL, 7, 658_586, "0.66M", 7.17, TABLE_6),
    "resnet-56": _cifar(ORIGINAL, 9, 853_018, "0.85M", 6.97, TABLE_6),
    "resnet-110": _cifar(ORIGINAL, 18, 1_727_962, "1.7M", 6.43, TABLE_6),
    "resnet-164": _cifar(
        BOTTLENECK, 18, 1_704_154, "1.7M", 5.93, PRE_TABLE_2, paper=PRERESNET,
        shortcut="proj", widths=(64, 128, 256), bottleneck_ratio=0.25,
    ),
    "preresnet-110": _cifar(
        FULL_PREACTIVATION, 18, 1_730_522, "1.7M", 6.37, PRE_TABLE_2, paper=PRERESNET,
        shortcut="proj",
    ),
    "preresnet-164": _cifar(
        BOTTLENECK_PREACTIVATION, 18, 1_703_258, "1.7M", 5.46, PRE_TABLE_2, paper=PRERESNET,
        shortcut="proj", widths=(64, 128, 256), bottleneck_ratio=0.25,
    ),
    "preresnet-1001": _cifar(
        BOTTLENECK_PREACTIVATION, 111, 10_327_706, "10.2M", 4.92, "Table 3", paper=PRERESNET,
        shortcut="proj", widths=(64, 128, 256), bottleneck_ratio=0.25,
    ),
    "se-resnet-110": _cifar(
        "conv3-bn-relu-conv3-bn-se + relu", 18, 1_744_952, "1.7M", None, "", paper=SENET,
        shortcut="proj",
    ),
    "wrn-28-10": _cifar(
        FULL_PREACTIVATION, 4, 36_479_194, "36.5M", 4.00, "C10+, version 4", paper=WRN,
        shortcut="proj", widths=(160, 320, 640),
    ),
    "wrn-40-8": _cifar(
        FULL_PREACTIVATION, 6, 35_748_314, "35.7M", None, "", paper=WRN, shortcut="proj",
        widths=(128, 256, 512),
    ),
    "densenet-bc-100": Classic(
        design=Design(
            layout=DENSE, merge="cat", depths=(16, 16, 16), widths=(12, 12, 12), stem_width=24,
            bottleneck_ratio=4.0,
        ),
        paper=DENSENET, params=769_162, published_params="0.8M", error=4.51,
        error_source="Table 2, C10+",
    ),
    "resnet-18": _imagenet(ORIGINAL, (2, 2, 2, 2), 11_689_512, "", 27.88, "Table 2, 10-crop"),
    "resnet-34": _imagenet(ORIGINAL, (3, 4, 6, 3), 21_797_672, "", 24.52, "Table 3, B, 10-crop"),
    "resnet-50": _imagenet(
        BOTTLENECK, (3, 4, 6, 3), 25_557_032, "", 22.85, "Table 3, 10-crop",
        width=256, bottleneck_ratio=0.25,
    ),
    "resnet-101": _imagenet(
        BOTTLENECK, (3, 4, 23, 3), 44_549_160, "", 21.75, "Table 3, 10-crop",
        width=256, bottleneck_ratio=0.25,
    ),
    "resnet-152": _imagenet(
        BOTTLENECK, (3, 8, 36, 3), 60_192_808, "", 21.43, "Table 3, 10-crop",
        width=256, bottleneck_ratio=0.25,
    ),
    "resnext-50-32x4d": _imagenet(
        BOTTLENECK, (3, 4, 6, 3), 25_028_904, "25.0M", 22.2, "Table 3, 1-crop", paper=RESNEXT,
        width=256, bottleneck_ratio=0.5, groups=32,
    ),
    "wide-resnet-50-2": _imagenet(
        BOTTLENECK, (3, 4, 6, 3), 68_883_240, "68.9M", 21.9, "WRN-50-2-bottleneck, 1-crop",
        paper=WRN, width=256, bottleneck_ratio=0.5,
    ),
    "densenet-121": Classic(
        design=Design(
            # The stem is complete before the pooling, although the branch opens with bn-relu.
            layout=DENSE, merge="cat", depths=(6, 12, 24, 16), widths=(32, 32, 32, 32),
            stem="conv7-bn-relu-pool", stem_width=64, bottleneck_ratio=4.0,
        ),
        paper=DENSENET, params=7_978_856, error=25.02, error_source="Table 3, 1-crop",
        image_size=224, classes=1000,
    ),
    "densenet-161": Classic(
        design=Design(
            layout=DENSE, merge="cat", depths=(6, 12, 36, 24), widths=(48, 48, 48, 48),
            stem="conv7-bn-relu-pool", stem_width=96, bottleneck_ratio=4.0,
        ),
        paper=DENSENET, params=28_681_000, image_size=224, classes=1000,
    ),
    # Option A shortcuts in the blocks, projections across each stage and across all of them.
    "ror-110": _cifar(
        ORIGINAL, 18, 1_731_866, "", None, "", paper=ROR, links=RESIDUAL_OF_RESIDUAL,
    ),
    "pre-ror-110": _cifar(
        FULL_PREACTIVATION, 18, 1_731_546, "", None, "", paper=ROR, links=RESIDUAL_OF_RESIDUAL,
    ),
    # The first shortcut of a stage shares the pre-activation of the branch. In the authors' code
    # it has a separate norm: 2,356 and 5,312 parameters more.
    "dpn-68": _dual_path((3, 4, 12, 3), (16, 32, 32, 64), 12_609_246, width=64, inner=128, stem=3),
    "dpn-92": _dual_path((3, 4, 20, 3), (16, 32, 24, 128), 37_663_080, width=256, inner=96, stem=7),
}
# fmt: on
