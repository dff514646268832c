//! Write Narthex plugins: exporters and service discoveries as WebAssembly.
