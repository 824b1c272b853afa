"""Your own data: arrays with groups and unbalanced classes, judged by the balanced accuracy.

The marks ``# %%`` are cells in VS Code, PyCharm, Spyder and Jupytext.
"""

# %% [markdown]
# Images may be uint8, uint16, float16 or float32, of any number of channels and any size. Here they
# are 16-bit digits: the question is whether a digit is a nine. Images of one writer stay in one
# split.

# %%
import numpy as np
from sklearn.datasets import load_digits

import skipsearch as ss

digits = load_digits()
images = (digits.images / 16 * 65_535).astype("uint16")[:, None]  # (N, C, H, W)
labels = np.where(digits.target == 9, "nine", "other")
writers = np.arange(len(images)) // 130  # blocks that stand in for the writers
data = ss.Data.from_arrays(images, labels, groups=writers, axes="NCHW", name="nines")
print(data.summary())

# %% [markdown]
# One class in ten is rare. The balanced accuracy counts both alike, and so do the class weights.

# %%
space = ss.Space.from_yaml(
    """
    name: nines
    base: {widths: [8, 16], depths: [1, 1], stem_width: 8}
    recipe: {batch_size: 64, class_weights: balanced}
    axes:
      layout: [conv3-bn-relu-conv3-bn + relu, bn-relu-conv3-bn-relu-conv3 +]
      merge: [add, cat]
    """
)
run = ss.search(
    space, data, metric="balanced_accuracy", trials=8, seeds=2, epochs=3, out="runs/nines"
)
score = run.config.task.metric.validation  # validation_balanced_accuracy
print(run.rank()[["design", score, "low", "high", "n", "layout", "merge"]].to_string())

# %% [markdown]
# Data given in Python are given again. The interval on the test images is by bootstrap.

# %%
exported = ss.export(run, "best", out="runs/nines/winner", data=data, formats=("source",))
low, high = exported.test.interval
print(f"test balanced accuracy {exported.test.score:.3f}, 95 % interval {low:.3f} to {high:.3f}")
np.save("runs/nines/one.npy", images[0])
print(ss.predict(exported.path, ["runs/nines/one.npy"]))
