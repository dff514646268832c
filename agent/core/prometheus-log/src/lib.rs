//! Reads what Prometheus keeps beside its blocks: log, out-of-order log, head chunks, snapshots.
