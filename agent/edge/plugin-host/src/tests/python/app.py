"""An exporter that tries to reach what it should not, and tells how much it got."""

import os, sys, time
from wit_world import exports
from wit_world.exports.metrics import Family, MetricType, Values_Numbers
from wit_world.imports.plugin import Manifest, Wants
from componentize_py_types import Err

NOTHING = Wants([], [], [], [], False, False)

def reached():
    found = len(os.environ)
    for path in ("/etc/passwd", "/proc/self/environ", "."):
        try:
            found += len(os.listdir(path)) if os.path.isdir(path) else len(open(path).read())
        except OSError:
            pass
    try:
        import socket
        socket.create_connection(("127.0.0.1", 22), 1)
        found += 1
    except Exception:
        pass
    return found

class Metrics(exports.Metrics):
    def describe(self):
        return Manifest("a test in Python", "1.0", NOTHING, NOTHING, None)
    def configure(self, config):
        self.config = config
    def collect(self):
        time.sleep(0.01)
        print("collecting")
        print("warning", file=sys.stderr)
        return [Family("python_reached", MetricType.GAUGE, "What Python reaches.", "", [], [], Values_Numbers([float(reached())]), [], [])]
