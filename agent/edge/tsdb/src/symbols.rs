//! One allocation per string: every label name and value of the head is held once.
//!
//! Keeps true: equal strings that went through [`Symbols::intern`] are the same allocation, until
//! nobody but the table held one and [`Symbols::drop_unused`] forgot it.

use std::collections::HashSet;
use std::sync::Arc;

#[derive(Default)]
pub(crate) struct Symbols {
    strings: HashSet<Arc<str>>,
    text_bytes: usize,
}

impl Symbols {
    /// The shared string of this text. A new one is taken over as it is, without a copy.
    pub(crate) fn intern(&mut self, text: &Arc<str>) -> Arc<str> {
        match self.strings.get(text) {
            Some(known) => known.clone(),
            None => self.add(text.clone()),
        }
    }

    pub(crate) fn intern_text(&mut self, text: &str) -> Arc<str> {
        match self.strings.get(text) {
            Some(known) => known.clone(),
            None => self.add(text.into()),
        }
    }

    /// Forgets the strings that nobody else holds.
    pub(crate) fn drop_unused(&mut self) {
        let text_bytes = &mut self.text_bytes;
        self.strings.retain(|text| {
            let used = Arc::strong_count(text) > 1;
            if !used {
                *text_bytes -= text.len();
            }
            used
        });
    }

    /// Memory of the strings, without the table's own.
    pub(crate) fn size_bytes(&self) -> usize {
        const COUNTERS_BYTES: usize = 2 * size_of::<usize>();
        self.text_bytes + self.strings.len() * (COUNTERS_BYTES + size_of::<Arc<str>>())
    }

    fn add(&mut self, text: Arc<str>) -> Arc<str> {
        self.text_bytes += text.len();
        self.strings.insert(text.clone());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_are_one() {
        let mut symbols = Symbols::default();
        let first = symbols.intern_text("job");
        let second = symbols.intern(&Arc::from("job"));
        assert!(Arc::ptr_eq(&first, &second));
        let size_bytes = symbols.size_bytes();

        symbols.intern_text("gone");
        assert!(symbols.size_bytes() > size_bytes);
        symbols.drop_unused();
        assert_eq!(symbols.size_bytes(), size_bytes);
        assert!(Arc::ptr_eq(&first, &symbols.intern_text("job")));
    }
}
