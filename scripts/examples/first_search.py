"""A first search: define a space, search it, rank the designs, and export the best one.

The marks ``# %%`` are cells in VS Code, PyCharm, Spyder and Jupytext.
"""

# %% [markdown]
# A space lists the values of each axis. This one has two orders of operations, the second with the
# norm and the ReLU in front, two shortcuts and two depths: eight designs.

# %%
import skipsearch as ss

space = ss.Space.from_yaml(
    """
    name: first
    base: {widths: [8, 16], stem_width: 8}
    recipe: {batch_size: 64}
    axes:
      layout: [conv3-bn-relu-conv3-bn + relu, bn-relu-conv3-bn-relu-conv3 +]
      shortcut: [pad, proj]
      depths: [[1, 1], [2, 2]]
    """
)
print(f"{space.size} designs")

# %% [markdown]
# Search it on the embedded digits. Run the cell again to resume an interrupted search.

# %%
run = ss.search(space, "digits", trials=8, epochs=3, out="runs/first")

# %% [markdown]
# Designs at equal fidelity, and the effect of each axis with its interval.

# %%
ranking, effects = run.rank(), run.effects()
print(ranking[["design", "validation_accuracy", "low", "high", "tied", "layout"]].to_string())
print(effects[["axis", "level", "difference", "d_low", "d_high", "verdict"]].to_string())

# %% [markdown]
# Train the best design to its full budget, test it once, and write it as PyTorch source with its
# weights and a card. Without ``formats`` it is written as a program and as ONNX too.

# %%
exported = ss.export(run, "best", out="runs/first/winner", formats=("source",))
print(f"test accuracy {exported.test.score:.3f}, 95 % interval {exported.test.interval}")
print((exported.path / "card.md").read_text()[:500])
