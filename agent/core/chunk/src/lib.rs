//! The encodings of Prometheus's chunks: floats and native histograms.
