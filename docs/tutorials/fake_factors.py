# %% [markdown]
# # A fake factor without bins
#
# How many fake leptons of a tight selection go with each of a loose one? Three ensembles learn it as a function of the
# variables, and say how well they know it. The toys have a fake factor that is known in closed form.

# %%
import matplotlib.pyplot as plt
import numpy as np

import tabstar_lit

run = tabstar_lit.train(
    "train_fakes",
    [
        "model_config.training_config.max_epochs=2",
        "dataset_config.dataloader_kwargs.batch_size=16384",
        "experiment_config.run_name=tutorial",
        "experiment_config.plot_metrics_n_epoch=null",
    ],
)
run.best_checkpoint

# %% [markdown]
# ## The factor of each event
#
# Every loose event gets `F` and its uncertainty; `fake_weight` is what fills histograms of the expected fakes.

# %%
loose = tabstar_lit.load(run.best_checkpoint).predict("data/fakes_toy.h5")
loose[["F", "sigma_F", "fake_weight"]].describe()

# %%
figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
axes.hist(np.log(loose["F"]), bins=50, weights=loose["weight"].abs(), histtype="step")
axes.set(xlabel="log of the fake factor", ylabel="sum of weights")
plt.close(figure)
figure

# %% [markdown]
# Two epochs are enough to see how it is used, and not for a good factor. `train_fakes` alone takes a few minutes;
# `tabstar_lit fakes closure` then tests it on events that were held out.
