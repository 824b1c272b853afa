"""Write a stratified subset of a data set as an .npz file, for a study on a small machine.

    python scripts/make_subset.py fashion-mnist fashion.npz --images 8000 [--data-root DIR]
    python scripts/make_subset.py cifar10 cifar8.npz --images 2500 --validation 2000 --pool 4

Every class keeps its share in each split. Without ``--validation``, the validation images are drawn
from the training images when the file is read. ``--pool 4`` averages blocks of 4 x 4 pixels.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch.nn.functional import avg_pool2d

import skipsearch as ss


def subset(
    images: torch.Tensor, labels: torch.Tensor, count: int, pool: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw images with their labels, stratified by class; return them as arrays."""
    share = min(count, len(labels))
    chosen = np.arange(len(labels))
    if share < len(labels):
        chosen, _ = train_test_split(chosen, train_size=share, stratify=labels, random_state=0)
    chosen = np.sort(chosen)
    pictures = images[chosen]
    if pool > 1:
        pictures = avg_pool2d(pictures.float(), pool).round().to(torch.uint8)
    pictures = pictures.permute(0, 2, 3, 1)  # (N, H, W, C), or (N, H, W) if grey
    return pictures.squeeze(-1).numpy(), labels[chosen].numpy()


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description="Write a subset of a data set as .npz.")
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, required=True, help="for training")
    parser.add_argument("--validation", type=int, default=0, help="images beside them")
    parser.add_argument("--pool", type=int, default=1, help="pixels whose mean becomes one")
    parser.add_argument("--data-root")
    options = parser.parse_args()
    data = ss.load_data(options.data, root=options.data_root)
    assert data.test is not None
    known = [data.train, data.validation]
    images = torch.cat([split.images for split in known])
    labels = torch.cat([split.labels for split in known])
    drawn, drawn_labels = subset(images, labels, options.images + options.validation, options.pool)
    test_images, test_labels = subset(
        data.test.images, data.test.labels, options.images // 4, options.pool
    )
    splits = {"test_images": test_images, "test_labels": test_labels}
    if options.validation:
        known_places, validation = train_test_split(
            np.arange(len(drawn_labels)),
            test_size=options.validation,
            stratify=drawn_labels,
            random_state=0,
        )
        splits |= {"val_images": drawn[validation], "val_labels": drawn_labels[validation]}
        drawn, drawn_labels = drawn[known_places], drawn_labels[known_places]
    np.savez_compressed(
        options.out,
        train_images=drawn,
        train_labels=drawn_labels,
        class_names=np.array(data.class_names),
        **splits,
    )
    counts = ", ".join(
        f"{len(v):,} {k.removesuffix('_labels')}"
        for k, v in {"train_labels": drawn_labels, **splits}.items()
        if k.endswith("labels")
    )
    print(f"{options.out}: {counts} images of {data.name}")


if __name__ == "__main__":
    main()
