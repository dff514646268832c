//! Patterns of file names, as `rule_files` has them: `*`, `?` and `[…]` in the last part of a path.

use std::fs;
use std::path::{Path, PathBuf};

/// The files that match, sorted. A path without wildcards matches itself, if it is there.
pub(crate) fn expand(pattern: &Path) -> Vec<PathBuf> {
    let Some(name) = pattern.file_name().and_then(|name| name.to_str()) else {
        return Vec::new();
    };
    if pattern.exists() {
        return vec![pattern.to_owned()];
    }
    if !name.contains(['*', '?', '[']) {
        return Vec::new();
    }
    let folder = pattern.parent().unwrap_or(Path::new(""));
    let listed = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let Ok(entries) = fs::read_dir(listed) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|candidate| matches(name, candidate))
        .map(|candidate| folder.join(candidate))
        .collect();
    found.sort();
    found
}

/// Whether `name` matches `pattern`. `*` is any run of characters, `?` any one, `[a-z]` one of a
/// set, `[^a]` one outside of it, and `\` takes the next character as it is.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // Where to go on when a later part doesn't match: the last `*` takes one character more.
    let mut retry: Option<(usize, usize)> = None;
    let (mut p, mut n) = (0, 0);
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            retry = Some((p + 1, n));
            p += 1;
            continue;
        }
        match one(pattern.get(p..).unwrap_or_default(), name[n]) {
            Some(taken) => {
                p += taken;
                n += 1;
            }
            None => match retry {
                Some((after_star, from)) => {
                    retry = Some((after_star, from + 1));
                    (p, n) = (after_star, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// If the first element of `pattern` matches `c`: how many characters long that element is.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['\\', literal, ..] => (*literal == c).then_some(2),
        ['[', ..] => set(pattern, c),
        [literal, ..] => (*literal == c).then_some(1),
        [] => None,
    }
}

fn set(pattern: &[char], c: char) -> Option<usize> {
    let negated = matches!(pattern.get(1), Some('^' | '!'));
    let first = if negated { 2 } else { 1 };
    let end = first + 1 + pattern.get(first + 1..)?.iter().position(|c| *c == ']')?;
    let members = pattern.get(first..end)?;
    let mut inside = false;
    let mut rest = members;
    while let [low, after @ ..] = rest {
        match after {
            ['-', high, others @ ..] => {
                inside |= (*low..=*high).contains(&c);
                rest = others;
            }
            others => {
                inside |= *low == c;
                rest = others;
            }
        }
    }
    (inside != negated).then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("*.yml", "a.yml", true),
            ("*.yml", "a.yaml", false),
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbY", false),
            ("r?.yml", "r1.yml", true),
            ("r?.yml", "r.yml", false),
            ("r[0-9].yml", "r7.yml", true),
            ("r[^0-9].yml", "r7.yml", false),
            ("r[ab]x", "rbx", true),
            ("r[ab", "ra", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("ü*", "über", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn files() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yml", "a.yml", "c.txt", "[x].yml"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let names = |pattern: &str| -> Vec<String> {
            expand(&folder.path().join(pattern))
                .iter()
                .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
                .collect()
        };
        assert_eq!(names("*.yml"), ["[x].yml", "a.yml", "b.yml"]);
        assert_eq!(names("[x].yml"), ["[x].yml"]);
        assert_eq!(names("c.txt"), ["c.txt"]);
        assert!(names("none*").is_empty());
        assert!(expand(Path::new("/nowhere/at/all/*")).is_empty());
    }
}
