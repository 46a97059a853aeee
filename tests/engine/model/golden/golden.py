# SPDX-License-Identifier: Apache-2.0
"""What make_text.py and make_onnx.py share: folders of small models beside this file, each with an
expected.json that tests/engine/model/check_model.c reads."""
import json
import os
import shutil

HERE = os.path.dirname(os.path.abspath(__file__))


def fresh_folder(name):
    path = os.path.join(HERE, name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


def write_json(path, value, indent=1):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=indent, ensure_ascii=False)
        f.write("\n")


def numbers(array):
    """Shape and values of a float64 array, with digits enough for float32."""
    return {"shape": list(array.shape), "values": [float(f"{v:.9g}") for v in array.reshape(-1)]}


def write_expected(folder, facts, items):
    """expected.json: facts on one line each, items on one line each."""
    lines = [f" {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in facts.items()]
    rows = ",\n".join("  " + json.dumps(item, ensure_ascii=False) for item in items)
    with open(os.path.join(folder, "expected.json"), "w", encoding="utf-8") as f:
        f.write("{\n" + ",\n".join(lines) + ',\n "items": [\n' + rows + "\n ]\n}\n")
