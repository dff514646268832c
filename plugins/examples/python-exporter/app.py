"""Tells how much waits in the queues of a spool folder: each folder in it is a queue, each file a job.

Configuration: {"folder": "/var/spool/shop"}
"""

import json
import time

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.metrics import Family, MetricType, Values_Numbers
from wit_world.imports import files
from wit_world.imports.files import ErrorCode, FileKind
from wit_world.imports.plugin import ConfigError, Manifest, Wants

NOTHING = Wants(files=[], http=[], dns=[], environment=[], system=False, query=False)

# The configuration names the folder, so any is wanted: the user grants the one he means.
WANTS = Wants(files=["/"], http=[], dns=[], environment=[], system=False, query=False)


def gauge(name, help, unit, by_queue):
    """A family with one metric for each queue, in columns as the contract has it."""
    return Family(
        name=name,
        kind=MetricType.GAUGE,
        help=help,
        unit=unit,
        label_names=["queue"],
        label_values=list(by_queue),
        values=Values_Numbers([float(value) for value in by_queue.values()]),
        timestamps_ms=[],
        start_timestamps_ms=[],
    )


def jobs(folder):
    """Size in bytes and time in milliseconds of each file of a folder."""
    found = []
    for entry in files.entries(folder):
        if entry.kind != FileKind.FILE:
            continue
        try:
            metadata = files.stat(f"{folder}/{entry.name}")
        except Err as error:
            # Done between the listing and the look.
            if error.value.code == ErrorCode.NOT_FOUND:
                continue
            raise
        found.append((metadata.size_bytes, metadata.modified_ms))
    return found


# What `configure` was given. Each call gets an object of its own, so it can't be kept there.
settings = {}


class Metrics(exports.Metrics):
    def describe(self):
        return Manifest("what waits in a spool folder", "1.0.0", WANTS, NOTHING, None)

    def configure(self, config):
        folder = json.loads(config).get("folder")
        if not isinstance(folder, str) or not folder.startswith("/"):
            raise Err(ConfigError("folder", "expected an absolute path"))
        settings["folder"] = folder

    def collect(self):
        root = settings["folder"]
        count, size, age = {}, {}, {}
        now_ms = time.time() * 1000
        try:
            for entry in files.entries(root):
                if entry.kind == FileKind.DIRECTORY:
                    found = jobs(f"{root}/{entry.name}")
                    oldest_ms = min((modified for _, modified in found), default=now_ms)
                    count[entry.name] = len(found)
                    size[entry.name] = sum(bytes for bytes, _ in found)
                    age[entry.name] = max(0, now_ms - oldest_ms) / 1000
        except Err as error:
            raise Err(f"{root}: {error.value.message}")
        return [
            gauge("spool_jobs", "Jobs that wait.", "", count),
            gauge("spool_size_bytes", "Size of the jobs that wait.", "bytes", size),
            gauge("spool_oldest_age_seconds", "Since when the oldest waits.", "seconds", age),
        ]
