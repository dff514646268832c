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
        for byte in bytes {
            if self.step(*byte)? {
                take(&self.item)?;
                self.item.clear();
            }
        }
        Ok(())
    }

    /// The object with an empty array in place of `items`, once it is complete.
    pub(crate) fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// Whether an element is complete.
    fn step(&mut self, byte: u8) -> Result<bool, TooLong> {
        let was_in_string = self.in_string;
        if self.in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
        } else if byte == b'"' {
            self.in_string = true;
        }
        // Of a string, only the two quotes are looked at further.
        let symbol = match was_in_string || self.in_string {
            true => 0,
            false => byte,
        };
        if self.in_items {
            return self.step_in_items(byte, symbol);
        }
        if self.depth == 1 {
            self.step_in_object(byte, symbol, was_in_string);
        }
        match symbol {
            b'{' | b'[' => {
                self.depth += 1;
                self.in_items = symbol == b'[' && self.depth == 2 && self.name == b"items";
            }
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        extend(&mut self.frame, &[byte])?;
        Ok(false)
    }

    /// Notes which name in the outermost object a value belongs to.
    fn step_in_object(&mut self, byte: u8, symbol: u8, was_in_string: bool) {
        match symbol {
            b':' => self.is_value = true,
            b',' => self.is_value = false,
            _ => {}
        }
        if self.is_value {
            return;
        }
        match (was_in_string, self.in_string) {
            (false, true) => self.name.clear(),
            // A name as long as this is none that is looked for.
            (true, true) if self.name.len() < 16 => self.name.push(byte),
            _ => {}
        }
    }

    fn step_in_items(&mut self, byte: u8, symbol: u8) -> Result<bool, TooLong> {
        let is_between = self.depth == 2;
        if is_between && symbol == b']' {
            self.in_items = false;
            self.depth -= 1;
            extend(&mut self.frame, &[byte])?;
            return Ok(!self.item.trim_ascii().is_empty());
        }
        if is_between && symbol == b',' {
            return Ok(true);
        }
        match symbol {
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth -= 1,
            _ => {}
        }
        if !(is_between && symbol.is_ascii_whitespace()) {
            extend(&mut self.item, &[byte])?;
        }
        Ok(false)
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
