# SPDX-License-Identifier: Apache-2.0
"""Starting and talking to a daemon, for the tests of this folder. Python's standard library only."""

import atexit
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import make_models

BUILD = os.path.abspath(os.environ.get("top_builddir", "."))
SOURCE = os.path.abspath(os.environ.get("top_srcdir", "."))
ENSOD = os.path.join(BUILD, "ensod")
BUNDLED = os.path.join(SOURCE, "models")
_scratch = tempfile.TemporaryDirectory(prefix="ensod-models-")
MODELS = _scratch.name  # small and quick ones; see make_models.py
make_models.make(MODELS)
# Sanitizers make everything several times slower.
PATIENCE = float(os.environ.get("ENSOD_TEST_PATIENCE", "60"))
SANITIZED = "ENSOD_TEST_SANITIZED" in os.environ  # memory and time say nothing about ensod then
# ThreadSanitizer sees every emulated thread of a GPU as one of its own: minutes for what takes a second.
THREAD_SANITIZED = os.environ.get("ENSOD_TEST_SANITIZED") == "thread"


class Daemon:
    """An ensod on a free port of 127.0.0.1. Log lines are gathered in `log`."""

    def __init__(self, *args, models=(MODELS,), env=None, listen="127.0.0.1:0", wait=True, config=None,
                 prefix=(), pass_fds=(), preexec=None):
        self.log = []
        self.port = None
        self._reading = threading.Event()
        self._reading.set()
        self._config = None
        command = [*prefix, ENSOD, "--listen", listen]
        if config is not None:
            self._config = tempfile.NamedTemporaryFile("w", suffix=".conf")
            self._config.write(config)
            self._config.flush()
            command += ["--config", self._config.name]
        command += list(args) + list(models)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ENSOD_")}
        environment.pop("NOTIFY_SOCKET", None)
        environment.update(env or {})
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                        env=environment, text=True, errors="replace", pass_fds=pass_fds,
                                        preexec_fn=preexec)
        atexit.register(self._leave_none)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if wait:
            self.wait_ready()

    def _leave_none(self):
        """A test that failed has not stopped its daemon."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _read(self):
        for line in self.process.stderr:
            self._reading.wait()
            self.log.append(line.rstrip("\n"))
            found = re.search(r'msg=listening address=127\.0\.0\.1:(\d+)', line)
            if found:
                self.port = int(found.group(1))

    def wait_ready(self):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if self.process.poll() is not None:
                time.sleep(0.2)
                raise AssertionError("the daemon ended: " + "\n".join(self.log))
            if self.port is not None:
                try:
                    if self.get("/ready")[0] == 200:
                        return
                except OSError:
                    pass
            time.sleep(0.02)
        raise AssertionError("not ready in time: " + "\n".join(self.log))

    def logged(self, words):
        """Has a line with these words been logged?"""
        return any(words in line for line in list(self.log))

    def pause_reading(self):
        """Leave the daemon's standard error unread: its pipe fills up."""
        self._reading.clear()

    def resume_reading(self):
        self._reading.set()

    def connect(self, timeout=PATIENCE):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def request(self, method, path, body=None, headers=None, timeout=PATIENCE):
        """(status, headers, body bytes) of one call on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def get(self, path, **kw):
        return self.request("GET", path, **kw)

    def post(self, path, value, headers=None, **kw):
        body = value if isinstance(value, (bytes, str)) else json.dumps(value)
        status, head, data = self.request("POST", path, body=body,
                                          headers={"Content-Type": "application/json", **(headers or {})}, **kw)
        return status, head, json.loads(data) if data else None

    def raw(self, data, timeout=PATIENCE):
        """Send bytes as they are, give back all that comes until the daemon closes or is silent."""
        with self.connect(timeout) as s:
            s.sendall(data)
            return read_all(s)

    def metrics(self):
        """{"name{labels}": value} of /metrics."""
        page = self.get("/metrics")[2].decode()
        return {m.group(1): float(m.group(2))
                for m in re.finditer(r'^([a-z_]+(?:\{[^}]*\})?) (\S+)$', page, re.M)}

    def stop(self, sig=signal.SIGTERM, timeout=PATIENCE):
        """Send the signal, wait for the end, give the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(sig)
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the daemon did not stop: " + "\n".join(self.log[-20:]))
        self._reader.join(5)
        if self._config is not None:
            self._config.close()
        return status

    def rss_bytes(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1)) * 1024

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_all(s, quiet=3.0):
    """Bytes until the peer closes, or until it has been silent for `quiet` seconds."""
    s.settimeout(quiet)
    data = b""
    try:
        while True:
            piece = s.recv(65536)
            if not piece:
                break
            data += piece
    except (TimeoutError, ConnectionResetError):
        pass
    return data


def read_answers(s, n):
    """n pipelined answers with Content-Length, as (status, body)."""
    f = s.makefile("rb")
    answers = []
    for _ in range(n):
        line = f.readline()
        if not line:
            break
        status = int(line.split()[1])
        length = 0
        while True:
            header = f.readline().strip()
            if not header:
                break
            if header.lower().startswith(b"content-length:"):
                length = int(header.split(b":")[1])
        answers.append((status, f.read(length)))
    return answers


def main(module):
    """Run a module's tests and end as Automake's driver likes it."""
    names = [name for name in sys.argv[1:] if not name.startswith("-")]
    loader = unittest.defaultTestLoader
    suite = loader.loadTestsFromNames(names, module) if names else loader.loadTestsFromModule(module)
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    bad, errors = len(result.failures), len(result.errors)
    percent = 100 * (result.testsRun - bad - errors) // max(result.testsRun, 1)
    print(f"{percent}%: Checks: {result.testsRun}, Failures: {bad}, Errors: {errors}")
    sys.exit(0 if bad + errors == 0 else 1)
