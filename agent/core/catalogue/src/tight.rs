//! Vectors that grow by an eighth, not to the double: there are many, and few of them shrink.

/// As `Vec::push`.
pub(crate) fn push<T>(vec: &mut Vec<T>, item: T) {
    reserve_one(vec);
    vec.push(item);
}

/// Room for one more.
pub(crate) fn reserve_one<T>(vec: &mut Vec<T>) {
    reserve(vec, 1);
}

/// Room for `additional` more.
pub(crate) fn reserve<T>(vec: &mut Vec<T>, additional: usize) {
    if vec.capacity() - vec.len() < additional {
        let eighth = (vec.len() / 8).max(2);
        vec.reserve_exact(additional.max(eighth));
    }
}

/// The memory a vector holds.
pub(crate) fn bytes<T>(vec: &Vec<T>) -> usize {
    vec.capacity() * size_of::<T>()
}
