"""Tables of patients to split."""

import numpy as np

SIZES = (0.8, 0.1, 0.1)
RATES = np.array([0.5, 0.35, 0.2, 0.1, 0.04, 0.01])


def draw(n, n_patients, seed=0):
    """Two policies' positives, the patients (heavy-tailed) and unique keys of n images."""
    rng = np.random.default_rng(seed)
    popular = rng.lognormal(sigma=1.2, size=n_patients)
    extra = rng.choice(n_patients, n - n_patients, p=popular / popular.sum())
    owners = np.concatenate([np.arange(n_patients), extra])
    ill = rng.normal(size=n_patients)[owners][:, None]
    latent = 0.6 * ill + 0.8 * rng.normal(size=(n, len(RATES)))
    zeros = latent > -np.quantile(-latent, RATES, axis=0).diagonal()
    ones = zeros | (rng.random(zeros.shape) < 0.1)
    patients = np.array([f"patient{owner:05d}" for owner in owners])
    return [zeros, ones], patients, np.array([f"{i:06d}.jpg" for i in range(n)])
