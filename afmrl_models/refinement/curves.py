"""What happened over the RAR steps, as one figure."""

import pandas as pd
from matplotlib.figure import Figure

_PANELS = {
    "reward": "reward",
    "reward_std": "spread of the reward",
    "frac_reward_zero_std": "share of texts without signal",
    "share_invalid": "share of invalid texts",
    "mean_characters": "length of the text, characters",
    "kl": "KL to the SFT model",
}


def reward_curves(history: pd.DataFrame) -> Figure:
    """Draw `RarResult.history`, a panel a measure; the line is a running mean of five steps."""
    shown = [name for name in _PANELS if name in history]
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    for axis, name in zip(figure.subplots(2, 3).flat, shown, strict=False):
        axis.plot(history["step"], history[name], ".", color="0.7")
        axis.plot(
            history["step"], history[name].rolling(5, min_periods=1, center=True).mean(), color="tab:blue"
        )
        axis.set_title(_PANELS[name], loc="left", fontsize=9)
        axis.set_xlabel("step", fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    return figure
