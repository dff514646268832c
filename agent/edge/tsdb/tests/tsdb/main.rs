//! The store from the outside: what it holds after whatever may happen to it.
