//! Finds the parts of an answer while it comes: the items of a list, the lines of a watch.
//!
//! Keeps true: no more than one part is held, however long the answer is; a part that is longer than
//! any object can be is an error, and not a reason to grow.

/// An object in a cluster's store has at most 1.5 MiB; as JSON it may be several times that.
const LONGEST_BYTES: usize = 16 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// Lines, each without its end.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    /// Gives each line that is complete now. Empty ones are left out.
    pub(crate) fn push<E: From<TooLong>>(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(at) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, after) = bytes.split_at(at);
            bytes = after.get(1..).unwrap_or_default();
            if self.rest.is_empty() {
                take_unless_blank(line, &mut take)?;
                continue;
            }
            extend(&mut self.rest, line)?;
            let whole = std::mem::take(&mut self.rest);
            take_unless_blank(&whole, &mut take)?;
        }
        extend(&mut self.rest, bytes)?;
        Ok(())
    }

    /// What came after the last end of a line.
    pub(crate) fn rest(&self) -> &[u8] {
        self.rest.trim_ascii()
    }
}

fn take_unless_blank<E>(
    line: &[u8],
    take: &mut impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    match line.trim_ascii() {
        [] => Ok(()),
        line => take(line),
    }
}

fn extend(part: &mut Vec<u8>, bytes: &[u8]) -> Result<(), TooLong> {
    if part.len() + bytes.len() > LONGEST_BYTES {
        return Err(TooLong);
    }
    part.extend_from_slice(bytes);
    Ok(())
}

/// The elements of the array `items` of a JSON object, and the object without them.
///
/// It looks no closer than it must: whether an element is sound JSON is seen when it is read.
#[derive(Debug, Default)]
pub(crate) struct Items {
    /// All but the elements.
    frame: Vec<u8>,
    /// The element that is coming.
    item: Vec<u8>,
    /// The name that is coming, or came last, in the outermost object.
    name: Vec<u8>,
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    /// Within the elements of `items`.
    in_items: bool,
    /// In the outermost object, a value comes next, and not a name.
    is_value: bool,
}

impl Items {
    /// Gives each element that is complete now.
    pub(crate) fn push<E: From<TooLong>>(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        // What comes before is looked at and kept.
        let mut kept = 0;
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if self.in_string {
                at = self.skip_string(bytes, at);
                continue;
            }
            at += 1;
            if self.in_items && self.depth == 2 && matches!(byte, b',' | b']') {
                let is_last = *byte == b']';
                self.keep(bytes, kept, at - 1)?;
                // Whether there is one after the last comma is for JSON to say.
                if !is_last || !self.item.trim_ascii().is_empty() {
                    take(self.item.trim_ascii())?;
                }
                self.item.clear();
                self.in_items = !is_last;
                self.depth -= usize::from(is_last);
                kept = at - usize::from(is_last);
                continue;
            }
            self.step(*byte);
            if self.begins_items(*byte) {
                self.keep(bytes, kept, at)?;
                kept = at;
                self.in_items = true;
            }
        }
        Ok(self.keep(bytes, kept, bytes.len())?)
    }

    /// The object with an empty array in place of `items`, once it is complete.
    pub(crate) fn frame(&self) -> &[u8] {
        &self.frame
    }

    fn keep(&mut self, bytes: &[u8], from: usize, to: usize) -> Result<(), TooLong> {
        let part = match self.in_items {
            true => &mut self.item,
            false => &mut self.frame,
        };
        extend(part, bytes.get(from..to).unwrap_or_default())
    }

    /// Takes note of a byte outside of strings.
    fn step(&mut self, byte: u8) {
        match byte {
            b'"' => {
                self.in_string = true;
                if self.is_name() {
                    self.name.clear();
                }
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            b':' if self.depth == 1 => self.is_value = true,
            b',' if self.depth == 1 => self.is_value = false,
            _ => {}
        }
    }

    /// Whether what comes in the outermost object is a name, and not a value.
    fn is_name(&self) -> bool {
        self.depth == 1 && !self.is_value
    }

    fn begins_items(&self, byte: u8) -> bool {
        byte == b'[' && self.depth == 2 && self.is_value && !self.in_items && self.name == b"items"
    }

    /// Where the string ends that these bytes are within, or they themselves do.
    fn skip_string(&mut self, bytes: &[u8], from: usize) -> usize {
        let mut at = from;
        while let Some(byte) = bytes.get(at) {
            at += 1;
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => {
                    self.in_string = false;
                    break;
                }
                _ => {}
            }
        }
        // A name as long as this is none that is looked for.
        if self.is_name() && self.name.len() < 16 {
            let end = at - usize::from(!self.in_string);
            self.name
                .extend(bytes.get(from..end).unwrap_or_default().iter().take(16));
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str, piece_bytes: usize) -> (Vec<String>, String) {
        let mut items = Items::default();
        let mut found = Vec::new();
        for piece in text.as_bytes().chunks(piece_bytes) {
            let taken = items.push::<TooLong>(piece, |item| {
                found.push(String::from_utf8(item.to_vec()).unwrap());
                Ok(())
            });
            taken.unwrap();
        }
        (found, String::from_utf8(items.frame().to_vec()).unwrap())
    }

    #[test]
    fn items_of_lists() {
        for (text, expected, frame) in [
            (r#"{"items":[]}"#, &[][..], r#"{"items":[]}"#),
            (r#"{"items": [ ] }"#, &[], r#"{"items": [] }"#),
            (r#"{"items":null,"a":1}"#, &[], r#"{"items":null,"a":1}"#),
            (
                r#"{"kind":"List","items":[{"a":[1,{"items":[2]}]}, {"b":"],}\"["}],"metadata":{"items":[3]}}"#,
                &[r#"{"a":[1,{"items":[2]}]}"#, r#"{"b":"],}\"["}"#],
                r#"{"kind":"List","items":[],"metadata":{"items":[3]}}"#,
            ),
            (
                "{\"metadata\":{\"continue\":\"items\"},\n \"items\" : [\n  {\n } ,\n{}\n ]\n}\n",
                &["{\n }", "{}"],
                "{\"metadata\":{\"continue\":\"items\"},\n \"items\" : []\n}\n",
            ),
            (
                r#"{"a":"items","b":[1,2],"items":["\\","é\\\"]"]}"#,
                &[r#""\\""#, r#""é\\\"]""#],
                r#"{"a":"items","b":[1,2],"items":[]}"#,
            ),
            // Cut off, and no list at all.
            (r#"{"items":[{"a":1},{"b"#, &[r#"{"a":1}"#], r#"{"items":["#),
            ("]]}}[[,", &[], "]]}}[[,"),
            ("<html>", &[], "<html>"),
        ] {
            for piece_bytes in [1, 2, 3, 7, 1000] {
                let (found, rest) = items(text, piece_bytes);
                assert_eq!(found, expected, "{text}");
                assert_eq!(rest, frame, "{text}");
            }
        }
    }

    #[test]
    fn lines_of_watches() {
        let text = "a\n\nbc\r\n  \nde\nf";
        for piece_bytes in [1, 2, 3, 100] {
            let mut lines = Lines::default();
            let mut found = Vec::new();
            for piece in text.as_bytes().chunks(piece_bytes) {
                let taken = lines.push::<TooLong>(piece, |line| {
                    found.push(String::from_utf8(line.to_vec()).unwrap());
                    Ok(())
                });
                taken.unwrap();
            }
            assert_eq!(found, ["a", "bc", "de"]);
            assert_eq!(lines.rest(), b"f");
        }
    }

    #[test]
    fn what_never_ends_is_given_up() {
        let piece = vec![b'x'; 1 << 20];
        let mut lines = Lines::default();
        let mut list = Items::default();
        list.push::<TooLong>(b"{\"items\":[\"", |_| Ok(())).unwrap();
        let mut results = (Ok(()), Ok(()));
        for _ in 0..=16 {
            results.0 = lines.push::<TooLong>(&piece, |_| Ok(()));
            results.1 = list.push::<TooLong>(&piece, |_| Ok(()));
        }
        assert_eq!(results, (Err(TooLong), Err(TooLong)));
    }
}
