# %% [markdown]
# # Signal and background
#
# Train a small classifier of collision events, look at the curves of the run, and score events with the checkpoint. The
# events are generated: a resonance of 125 GeV over falling dijets, with weights.

# %%
import matplotlib.pyplot as plt

import tabstar_lit

run = tabstar_lit.train(
    "train_signal",
    [
        "model_config=signal/mlp",
        "dataset_config.features=[met, n_jets, ht]",
        "dataset_config.dataloader_kwargs.batch_size=2048",
        "model_config.training_config.max_epochs=3",
        "experiment_config.run_name=tutorial",
        "experiment_config.plot_metrics_n_epoch=3",
    ],
)
run.directory

# %% [markdown]
# ## The run
#
# Everything that was logged is a DataFrame. The report and the figures of the run are files beside it; `track` shows them
# in the browser.

# %%
epochs = run.metrics.dropna(subset="val_loss").set_index("epoch")
epochs[["val_loss", "val_auroc"]]

# %% [markdown]
# ## Scores
#
# The checkpoint knows which columns it wants and how they are prepared. Splits follow from the ids of the events, so
# `split="test"` gives those that were never trained on.

# %%
scores = tabstar_lit.load(run.best_checkpoint).predict("data/signal_toy.h5", split="test")
scores.head()

# %%
figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
for label, events in scores.groupby("label", observed=True):
    axes.hist(
        events["p_signal"], bins=40, range=(0, 1), weights=events["weight"], histtype="step", density=True, label=label
    )
axes.set(xlabel="probability of signal", ylabel="density")
axes.legend()
plt.close(figure)
figure
