"""Do plain networks degrade as they get deeper? He et al. 2015, arXiv:1512.03385, Fig. 6.

    python scripts/studies/depth.py cifar10 --out runs/depth

On a small machine, a part of the images at half their resolution:

    python scripts/make_subset.py cifar10 cifar16.npz --images 10000 --validation 2500 --pool 2
    python scripts/studies/depth.py cifar16.npz --out runs/depth

Plain-20 and plain-56 against ResNet-20 and ResNet-56 with shortcuts of option A, at the widths and
with the recipe of the paper. The data are CIFAR-10, as an ``.npz`` or by name. Run the command
again to resume. At the end it prints the verdicts with their intervals, diagnoses the deepest plain
network, and writes the errors against depth as a figure.

The verdict "degrades" would be withdrawn if, at the full budget, the training error of the plain
network did not rise from 20 to 56 layers beyond the noise of the seeds.
"""

import argparse

import skipsearch as ss

SPACE = """
name: he2015
source: He et al. 2015, Deep Residual Learning, arXiv:1512.03385, Fig. 6
base: {widths: [16, 32, 64], shortcut: pad, merge: add}
recipe:
  batch_size: 128
  peak_lr: 0.1
  schedule: step
  weight_decay: 1e-4
  decay_norm_and_bias: true
  nesterov: false
axes:
  layout:
    - conv3-bn-relu-conv3-bn-relu        # plain
    - conv3-bn-relu-conv3-bn + relu      # residual
  depths: [[3, 3, 3], [9, 9, 9]]         # 20 and 56 layers
"""
PLAIN = "conv3-bn-relu-conv3-bn-relu"


def main() -> None:
    """Train the four networks with all seeds, and print what they show."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", help="CIFAR-10: an .npz file, or cifar10")
    parser.add_argument("--data-root", help="folder of torchvision's files")
    parser.add_argument("--out", required=True, help="run folder")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()

    data = ss.load_data(options.data, root=options.data_root)
    print(data.summary())
    run = ss.search(
        ss.Space.from_yaml(SPACE),
        data,
        sampler="grid",
        scheduler="none",
        seeds=options.seeds,
        epochs=options.epochs,
        recipe=ss.Recipe(crop=data.train.images.shape[-1] // 8, flip=True),  # 4 of 32 pixels
        out=options.out,
    )
    if run.outcome is None or run.outcome.interrupted:
        return
    found = run.degradation()
    print(*found.words, "", found.table.to_string(), sep="\n")
    run.plot_degradation().savefig(run.path / "degradation.png")
    deepest = max(
        (trial for trial in run.trials() if trial.design.layout == PLAIN),
        key=lambda trial: sum(trial.design.depths),
    )
    print("", *run.explain(deepest.design, data=data).words, sep="\n")


if __name__ == "__main__":
    main()
