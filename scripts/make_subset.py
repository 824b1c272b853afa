"""Write a fair subset of a data set as an .npz file, for a study on a small machine.

    python scripts/make_subset.py fashion-mnist fashion.npz --images 8000 [--data-root DIR]

Every class keeps its share, in training (validation comes out of it) and in test.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import train_test_split

import skipsearch as ss


def subset(images: torch.Tensor, labels: torch.Tensor, count: int) -> list[np.ndarray]:
    """Draw so many images, stratified by class."""
    share = min(count, len(labels))
    chosen = np.arange(len(labels))
    if share < len(labels):
        chosen, _ = train_test_split(chosen, train_size=share, stratify=labels, random_state=0)
    chosen = np.sort(chosen)
    pictures = images[chosen].permute(0, 2, 3, 1)  # (N, H, W, C), and (N, H, W) where they are grey
    return [pictures.squeeze(-1).numpy(), labels[chosen].numpy()]


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description="Write a subset of a data set as .npz.")
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, required=True, help="for training and validation")
    parser.add_argument("--data-root")
    options = parser.parse_args()
    data = ss.load_data(options.data, root=options.data_root)
    assert data.test is not None
    known = [data.train, data.validation]
    images = torch.cat([split.images for split in known])
    labels = torch.cat([split.labels for split in known])
    train_images, train_labels = subset(images, labels, options.images)
    test_images, test_labels = subset(data.test.images, data.test.labels, options.images // 4)
    np.savez_compressed(
        options.out,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=np.array(data.class_names),
    )
    print(f"{options.out}: {len(train_labels):,} and {len(test_labels):,} images of {data.name}")


if __name__ == "__main__":
    main()
