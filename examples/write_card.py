#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the figures of model cards: what stands between <!-- figures --> and <!-- /figures -->.

    examples/write_card.py [--check] [MODEL_DIR...]

MODEL_DIR/README.md is written by hand but for that block, which comes from two files beside it:

training.json     what the training script tells of its run
evaluation.json   what `enso eval --json` found on the test half (examples/evaluate_models.py);
                  of embeddings similarity.json (examples/evaluate_embeddings.py)

Without MODEL_DIR: all folders of models/ that have a training.json, and the table of them in the README
at the top.
--check writes nothing and fails where a card says something else than the files. Python's standard
library only.
"""
import argparse
import glob
import json
import os
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BEGIN, END = "<!-- figures -->", "<!-- /figures -->"
NOT_SERVED = ("README.md", "training.json", "evaluation.json", "similarity.json")
# What training.json always holds, in the order of the card; anything else follows, by its own name.
TRAINING = {
    "data": "data", "data_licence": "licence of the data", "seed": "seed", "command": "command",
    "epochs": "epochs", "best_epoch": "epoch taken", "validation": "validation", "parameters": "parameters",
    "seconds": "time taken", "processor": "processor", "threads": "threads", "precision": "precision of training",
    "torch": "PyTorch",
}


def percent(x):
    return "-" if x is None else f"{100 * x:.2f} %"


def duration(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def value(v):
    """A value of training.json in words."""
    if isinstance(v, dict):
        return "; ".join(f"{name.replace('_', ' ')} {value(x)}" for name, x in v.items())
    if isinstance(v, list):
        return ", ".join(map(value, v))
    if isinstance(v, bool):
        return "yes" if v else "no"
    return f"{v:,}" if isinstance(v, int) else f"{v:.6g}" if isinstance(v, float) else str(v)


def served_bytes(folder):
    paths = [os.path.join(here, name) for here, _, names in os.walk(folder) for name in names]
    return sum(os.path.getsize(p) for p in paths if os.path.relpath(p, folder) not in NOT_SERVED)


def class_rows(classes):
    return [[c["label"], c["support"], percent(c["precision"]), percent(c["recall"]), percent(c["f1"])] for c in classes]


def judged(evaluation):
    """What the daemon answered."""
    e = evaluation
    sample, data = e["sample"], f" of `{e['data']}`" if "data" in e else ""
    few = len(e["classes"]) <= 20
    classes = e["classes"] if few else sorted(e["classes"], key=lambda c: (c["f1"], c["label"]))[:10]
    return "\n\n".join([
        f"Judged through the daemon by `enso eval`, on all {e['items']:,} test items{data}:",
        table(["figure", "value"], [
            ["accuracy", f"**{percent(e['accuracy'])}**"],
            ["macro precision", percent(e["macro"]["precision"])],
            ["macro recall", percent(e["macro"]["recall"])],
            ["macro F1", percent(e["macro"]["f1"])],
            [f"accuracy on {sample['items']} of them, asked again by every `make check`", percent(sample["accuracy"])],
        ]),
        "Most often confused:",
        table(["is", "called", "times"], [[w["truth"], w["answer"], w["count"]] for w in e["worst"]]),
        "The classes:" if few else f"The {len(classes)} classes with the lowest F1, of {len(e['classes'])}:",
        table(["class", "items", "precision", "recall", "F1"], class_rows(classes)),
    ])


def alike(similarity):
    """What the daemon's embeddings are worth, beside their teacher's."""
    r = similarity["retrieval"]
    return "\n\n".join([
        "Asked through the daemon, on texts that it did not learn from. How alike it and the teacher order all pairs of "
        "texts by likeness (Spearman's correlation of the products; 1 is the same order):",
        table(["source", "texts", "correlation"],
              [[row["source"], f"{row['texts']:,}", f"{row['spearman']:.3f}"] for row in similarity["spearman"]]),
        f"How often the nearest of the {r['among']:,} train texts of BANKING77 has the same intent as a test text, "
        f"of {r['items']:,}:",
        table(["model", "same intent"], [["this", f"**{percent(r['student'])}**"], ["the teacher", percent(r["teacher"])]]),
    ])


def trained(training, size):
    """How it was made."""
    t = dict(training)
    words = {
        "seed": lambda v: str(v),
        "command": lambda v: f"`{v}`",
        "seconds": duration,
        "validation": lambda v: f"{percent(v['accuracy'])} of {v['items']:,} items of the training file",
    }
    if "validation_accuracy" in t:
        t["validation"] = {"items": t.pop("validation_items"), "accuracy": t.pop("validation_accuracy")}
    t = {name: v for name, v in t.items() if v is not None and name != "model"}
    names = [n for n in TRAINING if n in t] + [n for n in t if n not in TRAINING]
    rows = [[TRAINING.get(n, n.replace("_", " ")), words.get(n, value)(t[n])] for n in names]
    return "\n\n".join(["Training:", table(["what", "value"], rows + [["size of the files", f"{size / 1e6:.1f} MB"]])])


def figures(folder):
    """(training, evaluation) of a model."""
    pair = []
    judgement = "similarity.json" if os.path.exists(os.path.join(folder, "similarity.json")) else "evaluation.json"
    for name in ("training.json", judgement):
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            pair.append(json.load(f))
    if pair[0]["model"] != pair[1]["model"]:
        raise ValueError(f"{folder}: training.json is of {pair[0]['model']}, {judgement} of {pair[1]['model']}")
    return pair


def card(folder):
    training, evaluation = figures(folder)
    told = alike(evaluation) if "retrieval" in evaluation else judged(evaluation)
    return "\n\n".join([told, trained(training, served_bytes(folder))])


def overview(folders):
    """The table of the README: a row a model."""
    rows = []
    for folder in folders:
        training, e = figures(folder)
        if "retrieval" in e:
            what = ["feature-extraction", training["data"],
                    f"{percent(e['retrieval']['student'])}: the nearest text has the same intent", "-"]
        else:
            what = [e["task"], training["data"].replace(" (", ",").split(",")[0],
                    f"{percent(e['accuracy'])} of {e['items']:,}", percent(e["macro"]["f1"])]
        rows.append([f"[{e['model']}](models/{e['model']}/README.md)", *what, f"{served_bytes(folder) / 1e6:.1f} MB"])
    return table(["model", "task", "trained on", "accuracy", "macro F1", "size"], rows)


def replace(path, new, check):
    """Put the figures into a file; false when it does not (or with check, did not) hold them."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    begin, end = text.find(BEGIN), text.find(END)
    if begin < 0 or end < begin:
        raise ValueError(f"{path} has no lines {BEGIN} and {END}")
    new = f"{text[:begin]}{BEGIN}\n\n{new}\n\n{text[end:]}"
    if new == text:
        return True
    if check:
        print(f"{path}: the figures are not those of the JSON files; run examples/write_card.py")
        return False
    with open(path, "w", encoding="utf-8") as f:
        f.write(new)
    print(f"wrote {path}")
    return True


def main():
    parser = argparse.ArgumentParser(description="Write the figures of model cards from the files beside them.")
    parser.add_argument("folders", metavar="MODEL_DIR", nargs="*", help="default: those in models/ that have figures")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a card says something else")
    args = parser.parse_args()
    folders = args.folders or sorted(os.path.dirname(p) for p in glob.glob(os.path.join(TOP, "models/*/training.json")))
    try:
        good = [replace(os.path.join(folder, "README.md"), card(folder), args.check) for folder in folders]
        if not args.folders:
            good.append(replace(os.path.join(TOP, "README.md"), overview(folders), args.check))
    except (OSError, ValueError) as e:
        sys.exit(f"write_card.py: {e}")
    except KeyError as e:
        sys.exit(f"write_card.py: a training.json or evaluation.json has no {e}")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
