# %% [markdown]
# # Communities of microbes
#
# An encoder learns UniFrac distances and hidden nucleotides of a study without any label; a predictor of a phenotype
# stands on it. Beside it stand a forest and a linear model on the same samples. The study is generated, with four samples
# of each subject, and subjects are never split.

# %%
import tabstar_lit

run = tabstar_lit.train(
    "train_microbes",
    [
        "model_config.training_config.max_epochs=2",
        "experiment_config.run_name=tutorial",
        "experiment_config.plot_metrics_n_epoch=null",
    ],
)
last = run.metrics[run.metrics["stage"] == "predictor"].dropna(axis=1, how="all")
last.filter(regex="^(epoch|val_)").dropna().T.round(3)

# %% [markdown]
# ## Predict, and embed
#
# A checkpoint takes any table of counts whose columns are sequences, also sequences that were never seen. Here it reads
# the study itself.

# %%
model = tabstar_lit.load(run.best_checkpoint)
model.predict("data/microbes_generated.h5").head()

# %%
vectors = model.embed("data/microbes_generated.h5")
vectors.shape
