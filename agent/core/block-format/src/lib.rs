//! Prometheus's block format as bytes: index, chunk segments, tombstones, meta.json.
