"""What attribute texts are worth to an embedder, by how right they are, on a run's validation products.

    python benchmarks/attribute_worth.py RUN [--embedder DIR] [--generator DIR] [--keys KEY ...]

RUN is the folder that `afmrl run` left, AFMRL_HOME/PROFILE (of several seeds: its `seed_<n>`, and --catalog
names the profile's folder). Recall@1 of `fine_grained`, with each text at the query alone and on both sides:

    true            what all offers of the product state
    noise           true, but each value wrong as often as the generator's are; which ones is chance
    noise, omitted  the same values, left out in place of wrong
    written         what the generator writes, greedily
    sure of .50 …   the same, without the values it gives a lower probability
    right alone     the same, without the values that are wrong: what perfect self-knowledge would bring

Differences to the title alone, with paired 95 % intervals over products. The test split is not read.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from text_worth import Catalog, print_worth

from afmrl_models.attributes.generator import AttributeGenerator
from afmrl_models.attributes.grammar import parse, render
from afmrl_models.catalog.images import ImageStore

BATCH = 128
LONGEST = 64  # tokens of a text
THRESHOLDS = (0.5, 0.7, 0.9, 0.97)

Values = dict[str, list[tuple[str, str, float]]]  # listing id -> key, value, the value's probability


def written_values(
    generator: AttributeGenerator, listings: pd.DataFrame, images: ImageStore, keys: list[str]
) -> Values:
    """The greedy text of every listing, value by value, with the product of its tokens' probabilities."""
    tokenizer = generator.processor.tokenizer
    ids, prompts = list(listings["listing_id"]), generator._prompts(list(listings["title"]), keys)
    values: Values = {}
    for start in range(0, len(ids), BATCH):
        batch = slice(start, start + BATCH)
        inputs = generator.processor(
            text=prompts[batch],
            images=list(images.pixels(ids[batch])),
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )
        with torch.inference_mode():
            done = generator.model.generate(
                **inputs,
                max_new_tokens=LONGEST,
                do_sample=False,
                output_scores=True,
                return_dict_in_generate=True,
            )
        tokens = done.sequences[:, inputs["input_ids"].shape[1] :]
        scores = torch.stack(done.scores, dim=1).log_softmax(-1)
        sure = scores.gather(2, tokens.unsqueeze(2)).squeeze(2)
        for listing_id, row, logs in zip(ids[batch], tokens.tolist(), sure.tolist(), strict=True):
            values[listing_id] = list(_pairs(tokenizer, row, logs))
    return values


def _pairs(tokenizer: object, tokens: list[int], logs: list[float]) -> Iterator[tuple[str, str, float]]:
    said, total = "", 0.0
    for token, log in zip(tokens, logs, strict=True):
        piece = "" if token in tokenizer.all_special_ids else tokenizer.decode([token])  # type: ignore[attr-defined]
        said, total = said + piece, total + log
        if ";" in piece or not piece:
            key, colon, value = said.partition(";")[0].partition(":")
            if colon and key.strip() and value.strip():
                yield key.strip(), value.strip(), float(np.exp(total))
            said, total = said.partition(";")[2], 0.0
        if not piece:
            return


def text_of(pairs: Mapping[str, str]) -> str:
    return render(pairs) if pairs else ""


def noisy(true: Mapping[str, str], right: Mapping[str, float], *, omit: bool) -> dict[str, str]:
    """Each value as it is with its key's probability, else another listing's or none; the same draws."""
    rng = np.random.default_rng(0)
    stated = {id_: parse(text) for id_, text in true.items()}
    pool = {key: [pairs[key] for pairs in stated.values() if key in pairs] for key in right}
    texts = {}
    for id_, pairs in stated.items():
        kept = {}
        for key, value in pairs.items():
            wrong, other = rng.random() > right[key], pool[key][rng.integers(len(pool[key]))]
            if not wrong:
                kept[key] = value
            elif not omit:
                kept[key] = other if other != value else next((v for v in pool[key] if v != value), value)
        texts[id_] = text_of(kept)
    return texts


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--catalog", type=Path, help="the folder that holds catalog/; default: the run's")
    parser.add_argument("--embedder", type=Path)
    parser.add_argument("--generator", type=Path)
    parser.add_argument("--keys", nargs="+", default=["gender", "type", "colour", "usage"])
    given = parser.parse_args()
    torch.set_num_threads(1)
    catalog = Catalog.of(given.catalog or given.run)
    held_out, images = catalog.split("validation"), catalog.images
    true = catalog.true_texts(given.keys)
    generator = AttributeGenerator.load(given.generator or given.run / "round_0/attribute_generator", "cpu")
    values = written_values(generator, held_out, images, given.keys)
    stated = {
        id_: {k: v.casefold() for k, v in parse(true[id_]).items()} if id_ in true else {} for id_ in values
    }
    frame = pd.DataFrame(
        [
            (key, probability, stated[id_].get(key) == value.casefold())
            for id_, pairs in values.items()
            for key, value, probability in pairs
        ],
        columns=["key", "probability", "right"],
    )
    right = frame.groupby("key")["right"].mean().to_dict()
    print("right by key: " + ", ".join(f"{key} {share:.3f}" for key, share in right.items()))
    print("right by the probability that the generator gives its value:")
    bands = pd.cut(frame["probability"], [0, 0.3, 0.5, 0.7, 0.9, 0.97, 1])
    for band, part in frame.groupby(bands, observed=True):
        print(f"  {band}: {part['right'].mean():.3f} of {len(part)}")

    texts = {
        "true": true,
        "noise": noisy(true, right, omit=False),
        "noise, omitted": noisy(true, right, omit=True),
        "written": {id_: text_of({k: v for k, v, _ in pairs}) for id_, pairs in values.items()},
        **{
            f"sure of {least:.2f}": {
                id_: text_of({k: v for k, v, sure in pairs if sure >= least}) for id_, pairs in values.items()
            }
            for least in THRESHOLDS
        },
        "right alone": {
            id_: text_of({k: v for k, v, _ in pairs if stated[id_].get(k) == v.casefold()})
            for id_, pairs in values.items()
        },
    }
    print_worth(catalog, given.embedder or given.run / "round_0/embedder", texts)


if __name__ == "__main__":
    main()
