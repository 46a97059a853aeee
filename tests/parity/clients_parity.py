#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What other people's programs make of ensod: the stock clients of KServe V2 (tritonclient) and of Hugging
Face (huggingface_hub) get answers that agree with /v1, and a validator accepts /openapi.json.

    python3 -m venv v && v/bin/pip install 'tritonclient[http]' huggingface_hub openapi-spec-validator
    top_srcdir=. top_builddir=build v/bin/python tests/parity/clients_parity.py

A package that is missing skips its tests, and says so."""

import base64
import json
import math
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "end_to_end"))
from daemon import Daemon, SOURCE  # noqa: E402

try:
    import numpy
    import tritonclient.http as triton
    from tritonclient.utils import InferenceServerException
except ImportError:
    triton = None
try:
    import huggingface_hub
except ImportError:
    huggingface_hub = None
try:
    import openapi_spec_validator
except ImportError:
    openapi_spec_validator = None

TEXTS = ["my card was swallowed", "how do I change the PIN?"]


def picture():
    with open(os.path.join(SOURCE, "examples", "pictures", "sneaker.png"), "rb") as file:
        return file.read()


class Clients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.d = Daemon()
        status, _, answer = cls.d.request("POST", "/v1/classify", json.dumps(
            {"model": "intents", "input": TEXTS, "probs": True, "top_k": 0}))
        assert status == 200, answer
        cls.rows = json.loads(answer)["data"]

    @classmethod
    def tearDownClass(cls):
        cls.d.process.terminate()
        cls.d.process.wait()

    def close(self, a, b):
        self.assertEqual(len(a), len(b))
        for x, y in zip(a, b):
            self.assertTrue(math.isclose(x, y, rel_tol=1e-6, abs_tol=1e-9), (x, y))


@unittest.skipIf(triton is None, "tritonclient is not installed")
class Triton(Clients):
    def setUp(self):
        self.client = triton.InferenceServerClient(f"127.0.0.1:{self.d.port}")
        self.addCleanup(self.client.close)

    def test_metadata(self):
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_server_ready())
        self.assertTrue(self.client.is_model_ready("intents"))
        self.assertFalse(self.client.is_model_ready("nothing"))
        self.assertIn("binary_tensor_data", self.client.get_server_metadata()["extensions"])
        self.assertEqual(self.client.get_model_metadata("intents", "1")["name"], "intents")

    def infer(self, model, name, array, datatype, binary, outputs, **more):
        tensor = triton.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array, binary_data=binary)
        wanted = [triton.InferRequestedOutput(o, binary_data=binary) for o in outputs]
        return self.client.infer(model, [tensor], outputs=wanted, **more)

    def test_texts_in_json_and_binary(self):
        for binary in (False, True):
            with self.subTest(binary=binary):
                a = self.infer("intents", "text", numpy.array(TEXTS, dtype=object), "BYTES", binary,
                               ["label", "probabilities"], request_id="7", priority=1, timeout=30_000_000)
                self.assertEqual(a.get_response()["id"], "7")
                labels = [x.decode() if isinstance(x, bytes) else x for x in a.as_numpy("label")]
                self.assertEqual(labels, [r["label"] for r in self.rows])
                for got, row in zip(a.as_numpy("probabilities"), self.rows):
                    self.close(got.tolist(), row["probs"])

    def test_classification(self):
        tensor = triton.InferInput("text", [2, 1], "BYTES")
        tensor.set_data_from_numpy(numpy.array(TEXTS, dtype=object).reshape(2, 1))
        a = self.client.infer("intents", [tensor], outputs=[triton.InferRequestedOutput(
            "probabilities", class_count=2)]).as_numpy("probabilities")
        self.assertEqual(a.shape, (2, 2))
        for got, row in zip(a, self.rows):
            self.assertEqual(got[0].decode().split(":")[2], row["label"])

    def test_picture_as_bytes(self):
        a = self.infer("fashion", "image", numpy.array([picture()], dtype=object), "BYTES", True, ["probabilities"])
        self.assertEqual(a.as_numpy("probabilities").shape, (1, 10))

    def test_own_input_in_halves_and_floats(self):
        inputs = self.client.get_model_metadata("fashion")["inputs"]
        own = [t for t in inputs if t["datatype"] == "FP32"][0]
        x = (numpy.arange(2 * 784).reshape([2] + own["shape"][1:]) % 256 / 256).astype(numpy.float32)
        outputs = [t["name"] for t in self.client.get_model_metadata("fashion")["outputs"]][2:]
        y = self.infer("fashion", own["name"], x, "FP32", True, outputs).as_numpy(outputs[0])
        h = self.infer("fashion", own["name"], x.astype(numpy.float16), "FP16", True, outputs).as_numpy(outputs[0])
        j = self.infer("fashion", own["name"], x, "FP32", False, outputs).as_numpy(outputs[0])
        self.assertEqual(y.tobytes(), h.tobytes())  # these x are the same numbers as halves
        self.assertEqual(y.tobytes(), j.astype(numpy.float32).tobytes())

    def test_errors_are_told(self):
        with self.assertRaisesRegex(InferenceServerException, "no input 'nothing'"):
            self.infer("intents", "nothing", numpy.array(TEXTS, dtype=object), "BYTES", True, ["label"])


@unittest.skipIf(huggingface_hub is None, "huggingface_hub is not installed")
class HuggingFace(Clients):
    def client(self, model):
        return huggingface_hub.InferenceClient(f"http://127.0.0.1:{self.d.port}/models/{model}")

    def test_text_classification(self):
        got = self.client("intents").text_classification(TEXTS[0])
        self.assertEqual([e.label for e in got], [t["label"] for t in self.rows[0]["top"]])
        self.close([e.score for e in got], [t["score"] for t in self.rows[0]["top"]])
        self.assertEqual(len(self.client("intents").text_classification(TEXTS[0], top_k=2)), 2)

    def test_feature_extraction(self):
        _, _, answer = self.d.request("POST", "/v1/embeddings", json.dumps({"model": "embeddings", "input": TEXTS[0]}))
        got = self.client("embeddings").feature_extraction(TEXTS[0])
        self.close(list(map(float, got.ravel())), json.loads(answer)["data"][0]["embedding"])

    def test_image_classification(self):
        bare = self.client("fashion").image_classification(picture())
        coded = self.client("fashion").image_classification(picture(), top_k=5)
        self.assertEqual(len(bare), 5)
        self.assertEqual([e.label for e in bare], [e.label for e in coded])


@unittest.skipIf(openapi_spec_validator is None, "openapi-spec-validator is not installed")
class OpenApi(Clients):
    def document(self):
        return json.loads(self.d.request("GET", "/openapi.json")[2])

    def test_the_document_is_valid(self):
        openapi_spec_validator.validate(self.document())

    def answer(self, method, path, pattern, body=None, headers=None):
        """One call: its status is in the document, and its body has the shape that stands there."""
        from jsonschema import Draft202012Validator
        document = self.document()
        status, _, got = self.d.request(method, path, body, headers)
        response = document["paths"][pattern][method.lower()]["responses"][str(status)]
        schema = response["content"]["application/json"]["schema"]
        Draft202012Validator({**schema, "components": document["components"]}).validate(json.loads(got))
        return status

    def test_answers_are_as_the_document_says(self):
        text = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["x"]}
        calls = [
            ("GET", "/health", "/health", None, 200),
            ("GET", "/ready", "/ready", None, 200),
            ("GET", "/v1/models", "/v1/models", None, 200),
            ("GET", "/v1/models/fashion", "/v1/models/{id}", None, 200),
            ("GET", "/v1/models/intents", "/v1/models/{id}", None, 200),
            ("GET", "/v1/models/nothing", "/v1/models/{id}", None, 404),
            ("POST", "/v1/classify", "/v1/classify", {"model": "intents", "input": TEXTS}, 200),
            ("POST", "/v1/classify", "/v1/classify", {"model": "intents", "input": 7}, 400),
            ("POST", "/v1/classify", "/v1/classify", {"model": "intents", "input": ["a"] * 3000}, 413),
            ("POST", "/v1/embeddings", "/v1/embeddings", {"input": TEXTS}, 200),
            ("POST", "/v1/embeddings", "/v1/embeddings", {"input": [1, 2], "encoding_format": "base64"}, 200),
            ("POST", "/v1/tokenize", "/v1/tokenize", {"model": "intents", "input": TEXTS}, 200),
            ("POST", "/models/intents", "/models/{id}", {"inputs": TEXTS}, 200),
            ("POST", "/models/embeddings", "/models/{id}", {"inputs": "a"}, 200),
            ("POST", "/models/fashion", "/models/{id}", {"inputs": base64.b64encode(picture()).decode()}, 200),
            ("POST", "/models/intents", "/models/{id}", {}, 400),
            ("GET", "/v2", "/v2", None, 200),
            ("GET", "/v2/health/live", "/v2/health/live", None, 200),
            ("GET", "/v2/health/ready", "/v2/health/ready", None, 200),
            ("GET", "/v2/models/fashion", "/v2/models/{id}", None, 200),
            ("GET", "/v2/models/intents/ready", "/v2/models/{id}/ready", None, 200),
            ("GET", "/v2/models/intents/versions/2", "/v2/models/{id}/versions/{version}", None, 404),
            ("POST", "/v2/models/intents/infer", "/v2/models/{id}/infer", {"id": "1", "inputs": [text]}, 200),
            ("POST", "/v2/models/intents/infer", "/v2/models/{id}/infer", {"inputs": []}, 400),
        ]
        for method, path, pattern, body, status in calls:
            with self.subTest(path=path, body=str(body)[:60]):
                data = None if body is None else json.dumps(body)
                self.assertEqual(self.answer(method, path, pattern, data), status)

    def test_other_content_types_are_415(self):
        self.assertEqual(self.answer("POST", "/v1/tokenize", "/v1/tokenize", "x", {"Content-Type": "text/plain"}), 415)


if __name__ == "__main__":
    unittest.main(verbosity=1)
