//! Tells when watched files change, also when they are replaced or symlinked.
