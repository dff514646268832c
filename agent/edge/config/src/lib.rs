//! The three YAML files, checked and turned into each part's plain configuration.
