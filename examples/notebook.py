"""A network for chest X-rays, the fastai way, in cells."""

# %% [markdown]
# # A network for chest X-rays, the fastai way
#
# Needs a workspace: `cxrtool prepare DATA`, then `cxrtool split`. Here it is `cxr`.

# %%
import matplotlib.pyplot as plt
from fastai.callback.tracker import SaveModelCallback
from fastai.interpret import Interpretation
from fastai.torch_core import set_seed

from cxrtool import load_run, xray_block, xray_learner

set_seed(42)

# %% [markdown]
# ## The data
#
# A DataBlock of the workspace's manifest and split; the test part is never read. Images come from
# the cache, augmented and normalised as `cxrtool train` does it.

# %%
block = xray_block("cxr", image_size=64, uncertainty="ones")
dls = block.dataloaders(bs=16, sampling="weighted", num_workers=0)
print(len(dls.train_ds), "training and", len(dls.valid_ds), "valid images of", list(dls.vocab))
dls.show_batch(max_n=6)
plt.savefig("batch.png", dpi=80)

# %% [markdown]
# ## The network
#
# `weights="imagenet"` (the default) starts from ImageNet's; then `fine_tune` is the usual way.

# %%
learn = xray_learner(dls, arch="resnet18", weights="none")
print("suggested rate:", learn.lr_find(num_it=20, show_plot=False).valley)

# %%
learn.fit_one_cycle(2, 1e-3, cbs=SaveModelCallback(monitor="mean_auroc"))
print("valid loss and mean AUROC:", learn.validate())

# %% [markdown]
# ## What it says

# %%
learn.show_results(max_n=6)
plt.savefig("results.png", dpi=80)
Interpretation.from_learner(learn).plot_top_losses(6)
plt.savefig("top_losses.png", dpi=80)

# %%
findings, _, probabilities = learn.predict(block.table.iloc[0])
for label, probability in zip(dls.vocab, probabilities, strict=True):
    print(f"{label}: {probability:.2f}")

# %% [markdown]
# ## A table of one's own
#
# Any DataFrame with a `path` column and a column of 1, 0, -1 (uncertain) and NaN for each label.

# %%
table = block.table[["path", "is_valid", "Edema", "Cardiomegaly"]]
own = xray_block(table, ["Edema", "Cardiomegaly"], image_size=64, folder=block.images.folder)
print(own.dataloaders(bs=16, num_workers=0).one_batch()[0].shape)

# %% [markdown]
# ## A finished run
#
# `cxrtool train` writes runs, with thresholds and everything that is needed to trust them; a run
# scores files, folders or a CSV.

# %%
run = load_run(workspace="cxr")  # the last one that finished
scores = run.predict([block.images.folder / path for path in block.table["path"].head(3)])
print(scores.round(2).T.to_string(header=False))
