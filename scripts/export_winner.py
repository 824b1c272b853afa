"""Train the leading design of a run on train + validation, test it once, and export it.

    python scripts/export_winner.py runs/orders winner

The folder then holds a readable model.py, weights, ONNX, a torch.export program, and a card.
"""

import argparse

import skipsearch as ss


def main() -> None:
    """Export the design, and print its test score."""
    parser = argparse.ArgumentParser(description="Export the leading design of a run.")
    parser.add_argument("run", help="the run folder")
    parser.add_argument("out", help="the folder to write")
    options = parser.parse_args()
    exported = ss.export(options.run, "best", options.out, train_on="train+validation")
    low, high = exported.test.interval
    print(
        f"{exported.path}: test {exported.metric.title} {exported.test.score:.4f}"
        f" ({low:.4f} to {high:.4f}, {exported.test.images:,} images)"
    )


if __name__ == "__main__":
    main()
