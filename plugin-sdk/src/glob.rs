//! File name patterns: `*` stands for any run of characters, `?` for one, `[a-z]` for one of these
//! and `[^a-z]` for one of the others; a backslash takes the next character as it is.

/// Whether the whole name matches. Takes time proportional to the two lengths multiplied. A pattern
/// that is cut off in a class or after a backslash matches nothing.
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some(pattern) = parse(pattern) else {
        return false;
    };
    let name: Vec<char> = name.chars().collect();
    let (mut at_pattern, mut at_name) = (0, 0);
    // Where the last `*` stands, and up to where it has taken the name.
    let mut star: Option<(usize, usize)> = None;
    while at_name < name.len() {
        match pattern.get(at_pattern) {
            Some(Part::Any) => {
                star = Some((at_pattern, at_name));
                at_pattern += 1;
            }
            Some(part) if part.takes(name[at_name]) => {
                at_pattern += 1;
                at_name += 1;
            }
            _ => match star {
                Some((after, taken)) => {
                    star = Some((after, taken + 1));
                    at_pattern = after + 1;
                    at_name = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at_pattern..]
        .iter()
        .all(|part| matches!(part, Part::Any))
}

/// Whether the text means more than itself.
pub fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

enum Part {
    Any,
    One,
    Exactly(char),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Part {
    fn takes(&self, c: char) -> bool {
        match self {
            Part::Any => false,
            Part::One => true,
            Part::Exactly(this) => *this == c,
            Part::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

fn parse(pattern: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        parts.push(match c {
            '*' => Part::Any,
            '?' => Part::One,
            '\\' => Part::Exactly(chars.next()?),
            '[' => class(&mut chars)?,
            c => Part::Exactly(c),
        });
    }
    Some(parts)
}

/// The rest of a class after its opening.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Part> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let low = match chars.next()? {
            ']' if !ranges.is_empty() => return Some(Part::Class { negated, ranges }),
            '\\' => chars.next()?,
            c => c,
        };
        let high = match chars.next_if_eq(&'-') {
            Some(_) => match chars.next()? {
                '\\' => chars.next()?,
                c => c,
            },
            None => low,
        };
        ranges.push((low, high));
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn means_what_shells_mean() {
        for (pattern, name, expected) in [
            ("*.json", "a.json", true),
            ("*.json", ".json", true),
            ("*.json", "a.json.bak", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("é*", "éa", true),
            ("**", "x", true),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[^a-c]x", "dx", true),
            ("[]a]", "]", true),
            ("[a", "a", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
