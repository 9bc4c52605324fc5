# %% [markdown]
# # Experts on text, and a mixture of them
#
# A transformer, a state-space model and a diffuser learn the same text; a router mixes them. Here only the first expert,
# for a few steps; `train_experts` alone trains all four stages in a few minutes.

# %%
import tabstar_lit

run = tabstar_lit.train(
    "train_experts",
    [
        "stages=[transformer]",
        "model_config.training_config.max_epochs=1",
        "dataset_config.rows_per_epoch=256",
        "experiment_config.run_name=tutorial",
        "experiment_config.plot_metrics_n_epoch=null",
    ],
)
run.metrics.filter(like="val_").dropna(how="all").T.round(3)

# %% [markdown]
# ## How likely is a text?
#
# Bits per byte can be compared between models with other tokenizers; nats per token cannot.

# %%
model = tabstar_lit.load(run.best_checkpoint)
model.predict(["Ada found a red kite.", "kite red a found Ada."])

# %% [markdown]
# ## Let it write
#
# Keys and values of what was read are kept, so that each further letter costs one step of the network.

# %%
(text,) = model.generate(["One day Ada"], max_new_tokens=60)
print(text)
