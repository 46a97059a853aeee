# SPDX-License-Identifier: Apache-2.0
"""ensod's engine for the benches of a GPU: a process of tests/engine/model/run_cli. Python's standard library only."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import harness  # noqa: E402


class Engine:
    """A model on a device: of a module, or on the processor where that is None. `device` says what answered, with
    NVIDIA's library of matrix products where it has one. cublaslt: its path, "none", or None to look for it; one
    that does not load is done without, and `without` says why."""

    def __init__(self, build, module, folder, dtype, cublaslt=None):
        self.command = [harness.program(build, "tests/engine/model/run_cli")]
        if module is not None:
            self.command += ["--module", module, "--dtype", dtype]
        self.command += [folder]
        self.without = None
        try:
            self.start(cublaslt)
        except RuntimeError as error:
            if cublaslt in (None, "none"):
                raise
            self.without = str(error)
            self.start("none")

    def start(self, cublaslt):
        environment = {k: v for k, v in os.environ.items() if k != "NVIDIA_TF32_OVERRIDE"}
        if cublaslt is not None:
            environment["ENSO_TEST_CUBLASLT"] = cublaslt
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        try:
            self.device = self.ask({"device": True})["device"]
        except BaseException:  # a limit of time among them: nobody else knows the process yet
            self.process.kill()
            self.process.wait()
            raise

    def ask(self, line):
        try:
            self.process.stdin.write(json.dumps(line).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise RuntimeError("run_cli ended; its own message stands above") from None
        answer = json.loads(self.process.stdout.readline() or '{"error": "it ended; its own message stands above"}')
        if isinstance(answer, dict) and "error" in answer:
            raise RuntimeError(f"run_cli: {answer['error']}")
        return answer

    def outputs(self, items):
        """The first output of each item, flat."""
        return [item[0]["values"] for item in self.ask(items)]

    def seconds(self, items, n):
        """([of the caller's clock], [of the device's]) of n batches."""
        answer = self.ask({"repeat": n, "items": items})
        return answer["seconds"], answer["device_seconds"]

    def steps(self, items, repeats):
        return self.ask({"steps": repeats, "items": items})["steps"]

    def close(self):
        try:
            self.process.communicate(timeout=30)
        except (subprocess.TimeoutExpired, BrokenPipeError, ValueError):
            self.process.kill()
            self.process.wait()
