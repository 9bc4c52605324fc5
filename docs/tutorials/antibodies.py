# %% [markdown]
# # Antibodies for an antigen
#
# A model writes antibodies for an antigen at a wanted affinity. Such models often ignore the antigen, so every run
# measures whether it is read. The task is generated and has a known rule; here it is trained for a moment only, so that
# the rule is not learnt: `train_antibody` alone learns it in a few minutes.

# %%
import tabstar_lit

run = tabstar_lit.train(
    "train_antibody",
    [
        "model_config.training_config.max_epochs=1",
        "dataset_config.max_samples=256",
        "tracking_config.samples=8",
        "experiment_config.run_name=tutorial",
        "experiment_config.plot_metrics_n_epoch=null",
    ],
)
run.metrics.filter(like="effect").dropna(how="all").T.round(4)

# %% [markdown]
# The effects are how much less likely the true antibody becomes when the model is told the antigen, or the affinity, of
# another pair. About zero means: not read.
#
# ## Write antibodies
#
# Each comes with its likelihood, the nearest one of the training, and what is wrong with it, if anything.

# %%
model = tabstar_lit.load(run.best_checkpoint)
written = model.generate(["AGILDEFKNPQSTVAGILNP"], count=3, pkd=9.0)
written.T
