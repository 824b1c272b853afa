"""A question: which order of operations is best, and is the answer settled?

The marks ``# %%`` are cells in VS Code, PyCharm, Spyder and Jupytext.
"""

# %% [markdown]
# A search that is asked about an axis trains what narrows the differences between its levels most,
# and ends as soon as each level is worse than the best or tied with it within the margin.

# %%
import skipsearch as ss

space = ss.Space.from_yaml(
    """
    name: question
    base: {widths: [8, 16], depths: [2, 2], stem_width: 8}
    recipe: {batch_size: 64}
    axes:
      layout: [conv3-bn-relu-conv3-bn-relu, conv3-bn-relu-conv3-bn + relu]
      shortcut: [pad, proj]
      recipe.peak_lr: [0.05, 0.2]
    """
)
run = ss.search(space, ask="layout", margin=0.03, trials=16, seeds=3, epochs=3, out="runs/question")

# %% [markdown]
# The answer in words, and the number of further trainings if it is open.

# %%
assert run.outcome is not None
print(*run.outcome.answers, sep="\n")
print("settled" if run.outcome.settled else "open")

# %% [markdown]
# The same as a table, as a figure, and as a page with all evidence.

# %%
print(run.effects("layout")[["level", "n", "mean", "low", "high", "verdict"]].to_string())
run.plot_effects("layout").savefig("runs/question/effects.png")
print(run.report())
