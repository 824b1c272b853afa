"""Networks with a value for each pixel: U-Net and its family."""

from __future__ import annotations

from skipsearch.classics.entry import FULL_PREACTIVATION, ORIGINAL, PLAIN, Classic
from skipsearch.design import Design

UNET = "Ronneberger et al. 2015, U-Net, arXiv:1505.04597"
RESUNET = "Zhang et al. 2017, Road Extraction by Deep Residual U-Net, arXiv:1711.10684"
ATTENTION = "Oktay et al. 2018, Attention U-Net, arXiv:1804.03999"
UNETPP = "Zhou et al. 2018, UNet++, arXiv:1807.10165"
UNET3 = "Huang et al. 2020, UNet 3+, arXiv:2004.08790"
LINKNET = "Chaurasia & Culurciello 2017, LinkNet, arXiv:1707.03718"
FPN = "Lin et al. 2017, Feature Pyramid Networks, arXiv:1612.03144"
SEGNET = "Badrinarayanan et al. 2015, SegNet, arXiv:1511.00561"
DNCNN = "Zhang et al. 2017, Beyond a Gaussian Denoiser (DnCNN), arXiv:1608.03981"
REDNET = "Mao et al. 2016, RED-Net, arXiv:1603.09056"

# fmt: off
UNET_DESIGN = Design(
    layout=PLAIN, depths=(1, 1, 1, 1, 1), widths=(64, 128, 256, 512, 1024), stem="none", head="map",
    ups=4, up="up2", down="maxpool", links=("mirror",), link_merge="cat",
)


def _unet(params: int, paper: str = UNET, **changes: object) -> Classic:
    """Return a variant of the U-Net with padded convolutions, so that sizes are kept."""
    design = UNET_DESIGN.replace(**changes)
    return Classic(design=design, paper=paper, params=params, image_size=256, classes=1)


def _resnet(depths: tuple[int, ...], params: int, paper: str, **changes: object) -> Classic:
    """Return a decoder of five stages on the encoder of a ResNet."""
    design = Design(**{
        "layout": (ORIGINAL,) * 4 + (PLAIN,) * 5, "depths": depths,
        "widths": (64, 128, 256, 512, 256, 128, 64, 32, 16), "stem": "conv7-pool", "head": "map3",
        "ups": 5, "up": "nearest", "links": ("mirror",), "link_merge": "cat", **changes,
    })  # type: ignore[arg-type]
    return Classic(design=design, paper=paper, params=params, image_size=256, classes=1)


LINKNET_FIELDS = {
    "layout": ORIGINAL, "widths": (64, 128, 256, 512, 256, 128, 64, 64, 32), "head": "map",
    "up": "conv1-bn-relu-up4-bn-relu-conv1-bn-relu", "link_merge": "add",
    "bottleneck_ratio": (1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.5),
}

DECODERS: dict[str, Classic] = {
    # The U-Net with batch norm and padding, as it is commonly trained.
    "unet-2015": _unet(31_037_633),
    "unet-bilinear": _unet(
        17_262_977, widths=(64, 128, 256, 512, 512, 256, 128, 64, 64), up="bilinear",
        bottleneck_ratio=(1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 1.0),
    ),
    # The same encoder and decoder without long skips.
    "autoencoder": _unet(27_904_193, SEGNET, links=()),
    "attention-unet": _unet(31_386_757, ATTENTION, link_merge="attention"),
    # Here, coarser and finer signals are concatenated without separate convolutions.
    "unet-3plus": _unet(39_126_273, UNET3, links=("full",), up="bilinear"),
    # The first unit has a shortcut around both convolutions; in the paper a convolution is before.
    "resunet": Classic(
        design=Design(
            layout=FULL_PREACTIVATION, depths=(1, 1, 1, 1), widths=(64, 128, 256, 512), head="map",
            ups=3, up="nearest", links=("mirror",), link_merge="cat",
        ),
        paper=RESUNET, params=8_253_697, image_size=224, classes=1,
    ),
    # As in segmentation_models_pytorch 0.6.
    "unet-resnet-18": _resnet((2, 2, 2, 2, 1, 1, 1, 1, 1), 14_328_209, UNET),
    "unet-resnet-34": _resnet((3, 4, 6, 3, 1, 1, 1, 1, 1), 24_436_369, UNET),
    "unetplusplus-resnet-18": _resnet(
        (2, 2, 2, 2, 1, 1, 1, 1, 1), 15_970_449, UNETPP, links=("nested",)
    ),
    "linknet-18": _resnet((2, 2, 2, 2, 0, 0, 0, 0, 0), 11_663_777, LINKNET, **LINKNET_FIELDS),
    "linknet-34": _resnet((3, 4, 6, 3, 0, 0, 0, 0, 0), 21_771_937, LINKNET, **LINKNET_FIELDS),
    # The pyramid down to a quarter of the size, where the map is read.
    "fpn-18": Classic(
        design=Design(
            layout=ORIGINAL, depths=(2, 2, 2, 2, 0, 0, 0), stem="conv7-pool", head="conv3-map",
            widths=(64, 128, 256, 512, 256, 256, 256), ups=3, links=("mirror",),
            up=("conv1-nearest", "nearest", "nearest"),
        ),
        paper=FPN, params=11_946_817, image_size=256, classes=1,
    ),
    # Restoration: the output of the layers is added to the image.
    "dncnn": Classic(
        design=Design(
            layout="conv3-bn-relu", depths=(15,), widths=(64,), stem="conv3-relu", head="map3",
            links=("x>y",),
        ),
        paper=DNCNN, params=556_033, in_channels=1, image_size=40, classes=1,
    ),
    # In the paper no stage halves.
    "red-net": Classic(
        design=Design(
            layout="conv3-relu-conv3-relu", depths=(1, 1, 1), widths=(64, 64, 64),
            stem="conv3-relu", head="map3", ups=2, up="up4-relu", links=("mirror", "x>y"),
        ),
        paper=REDNET, params=500_993, in_channels=1, image_size=50, classes=1,
    ),
}
# fmt: on
