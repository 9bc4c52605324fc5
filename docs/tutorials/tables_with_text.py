# %% [markdown]
# # A table, with text in it
#
# A classifier that reads the words of a table as well as its numbers, from a DataFrame to what a prediction rests on. It
# takes half a minute. The same in the terminal is in *TabSTAR on a table of your own*.

# %%
import pandas as pd
from sklearn.datasets import load_wine

from tabstar_lit.sklearn import TabSTARClassifier

wines = load_wine(as_frame=True).frame.sample(frac=1, random_state=0, ignore_index=True)
wines["colour"] = pd.cut(wines["color_intensity"], 3, labels=["pale red", "red", "deep red"]).astype(str)
wines["grower"] = wines.pop("target").map({0: "Barolo", 1: "Grignolino", 2: "Barbera"})
wines = wines[["alcohol", "malic_acid", "flavanoids", "proline", "colour", "grower"]]
wines.head()

# %% [markdown]
# ## Fit
#
# Columns are taken as they are: numbers, texts, dates, gaps. Without `checkpoint=` a small network starts from the
# sentence encoder alone; with it, from what was pretrained on other tables.

# %%
X, y = wines.drop(columns="grower"), wines["grower"]
model = TabSTARClassifier(max_epochs=4, random_state=0)
model.fit(X[:130], y[:130])
model.score(X[130:], y[130:])

# %% [markdown]
# ## Predict
#
# A row's prediction does not depend on the rows beside it. Columns go by name; their order does not matter.

# %%
probabilities = pd.DataFrame(model.predict_proba(X[130:135]), columns=model.classes_, index=X.index[130:135])
probabilities.round(3)

# %% [markdown]
# ## What it looks at
#
# The share of attention that goes from the target to each column, mean and spread over rows. It says where the network
# looks, not what a change of the column would do.

# %%
importance = model.model_.explain(X[130:]).columns
importance

# %%
model.save("wines.ckpt")
again = TabSTARClassifier.load("wines.ckpt")
assert (again.predict(X) == model.predict(X)).all()
