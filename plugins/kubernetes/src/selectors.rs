//! Checks the selectors of a configuration, as the API server would read them: what is wrong with
//! one is told when the configuration is read, and not by a refused request later.

/// `app=web,tier in (a, b),!legacy`.
pub(crate) fn check_labels(text: &str) -> Result<(), String> {
    let tokens = tokens(text);
    let mut rest = tokens.as_slice();
    if rest.is_empty() {
        return Ok(());
    }
    loop {
        rest = requirement(rest)?;
        match rest.split_first() {
            None => return Ok(()),
            Some((&",", after)) => rest = after,
            Some((other, _)) => return Err(format!("found {other:?}, expected a comma")),
        }
    }
}

/// `status.phase=Running,spec.nodeName!=a`.
pub(crate) fn check_fields(text: &str) -> Result<(), String> {
    for term in split_terms(text) {
        let Some(at) = term.find('=') else {
            return Err(format!("{term:?} has none of =, == and !="));
        };
        let value = &term[at + 1..];
        let before = &term[..at];
        // `==` is the same as `=`, but `!==` is not the same as `!=`.
        let value = match value.strip_prefix('=') {
            Some(rest) if !before.ends_with('!') => rest,
            _ => value,
        };
        check_field_value(value)?;
    }
    Ok(())
}

/// Parts between commas that have no backslash before them; empty ones say nothing.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let mut start = 0;
    let mut is_escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms.retain(|term| !term.is_empty());
    terms
}

fn check_field_value(value: &str) -> Result<(), String> {
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('\\' | ',' | '=') => {}
                _ => {
                    return Err(format!(
                        "{value:?}: a \\ stands only before \\, a comma or ="
                    ));
                }
            },
            '=' => return Err(format!("{value:?}: a = in a value has a \\ before it")),
            _ => {}
        }
    }
    Ok(())
}

/// The longer ones first.
const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", "<", ">"];

/// Words and symbols, without what is blank.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let length = match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            Some(symbol) => symbol.len(),
            None => rest
                .find(|c: char| c.is_whitespace() || "=!(),<>".contains(c))
                .unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after.trim_start();
    }
    tokens
}

fn is_word(token: &str) -> bool {
    !token.starts_with(['=', '!', '(', ')', ',', '<', '>'])
}

/// Reads one requirement; gives what follows.
fn requirement<'a, 'b>(tokens: &'a [&'b str]) -> Result<&'a [&'b str], String> {
    let (is_negated, tokens) = match tokens.split_first() {
        Some((&"!", rest)) => (true, rest),
        _ => (false, tokens),
    };
    let Some((key, rest)) = tokens.split_first().filter(|(key, _)| is_word(key)) else {
        let found = tokens.first().unwrap_or(&"the end");
        return Err(format!("found {found:?}, expected a label's name"));
    };
    check_key(key)?;
    let operator = match rest.split_first() {
        _ if is_negated => return Ok(rest),
        None | Some((&",", _)) => return Ok(rest),
        Some((operator, after)) => (*operator, after),
    };
    match operator {
        ("=" | "==" | "!=", after) => match after.split_first() {
            Some((value, after)) if is_word(value) => check_value(value).map(|()| after),
            // No value is the empty one.
            None | Some((&",", _)) => Ok(after),
            Some((other, _)) => Err(format!("found {other:?}, expected a value")),
        },
        (">" | "<", after) => match after.split_first() {
            Some((value, after)) if value.parse::<i64>().is_ok() => Ok(after),
            other => {
                let found = other.map_or("the end", |(value, _)| value);
                Err(format!("found {found:?}, expected a whole number"))
            }
        },
        ("in" | "notin", after) => values(after),
        (other, _) => Err(format!(
            "found {other:?}, expected one of =, ==, !=, in, notin, > and <"
        )),
    }
}

/// `(a, b)`.
fn values<'a, 'b>(tokens: &'a [&'b str]) -> Result<&'a [&'b str], String> {
    let Some((&"(", mut rest)) = tokens.split_first() else {
        let found = tokens.first().unwrap_or(&"the end");
        return Err(format!("found {found:?}, expected values in parentheses"));
    };
    loop {
        match rest.split_first() {
            Some((&")", after)) => return Ok(after),
            Some((&",", after)) => rest = after,
            Some((value, after)) if is_word(value) => {
                check_value(value)?;
                rest = after;
                if !matches!(rest.first(), Some(&(")" | ","))) {
                    let found = rest.first().unwrap_or(&"the end");
                    return Err(format!("found {found:?}, expected a comma or )"));
                }
            }
            other => {
                let found = other.map_or("the end", |(value, _)| value);
                return Err(format!("found {found:?}, expected a value or )"));
            }
        }
    }
}

/// `name` or `prefix.example.com/name`.
fn check_key(key: &str) -> Result<(), String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let is_label = |part: &str| {
        let is_inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        !part.is_empty()
            && part.bytes().all(is_inner)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    let is_prefix = |prefix: &str| prefix.len() <= 253 && prefix.split('.').all(is_label);
    match !name.is_empty() && is_name(name) && prefix.is_none_or(is_prefix) {
        true => Ok(()),
        false => Err(format!("{key:?} is no name of a label")),
    }
}

fn check_value(value: &str) -> Result<(), String> {
    match is_name(value) {
        true => Ok(()),
        false => Err(format!(
            "{value:?} is no value of a label: expected at most 63 letters, digits, -, _ and ., \
             first and last a letter or digit"
        )),
    }
}

/// Empty, too.
fn is_name(text: &str) -> bool {
    let is_end = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && is_end(text.chars().next())
        && is_end(text.chars().next_back())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_selectors() {
        for good in [
            "",
            "  ",
            "a",
            "!a",
            "! a , b",
            "a=b",
            "a==b",
            "a!=b",
            "a=",
            "a=,b!=",
            "foo in (bar,baz)",
            "foo notin ( bar ),x",
            "a in ()",
            "a in (b,)",
            "n > 5,n<-7",
            "in in (in, notin)",
            "app.kubernetes.io/name = web",
        ] {
            assert_eq!(check_labels(good), Ok(()), "{good}");
        }
        for bad in [
            ",",
            "a=b,",
            "a=b,,c",
            "a b",
            "a=b c",
            "a in b",
            "a in (b",
            "a in (b c)",
            "a in (=)",
            "a > x",
            "a >",
            "=b",
            "!",
            "a=b=c",
            "a==(b)",
            "-a=b",
            "a=-b",
            "Upper.Case/a=b",
            "/a",
            "a/",
            "a=b/c",
        ] {
            assert!(check_labels(bad).is_err(), "{bad}");
        }
        assert!(check_labels(&format!("a={}", "x".repeat(63))).is_ok());
        assert!(check_labels(&format!("a={}", "x".repeat(64))).is_err());
    }

    #[test]
    fn field_selectors() {
        for good in [
            "",
            ",",
            "metadata.status=Running",
            "a==b,c!=d",
            r"a=b\,c\=d\\e",
            "a=",
            "=b",
        ] {
            assert_eq!(check_fields(good), Ok(()), "{good}");
        }
        for bad in [
            "metadata.status-Running",
            "a=b=c",
            r"a=b\c",
            r"a=b\",
            "a=b,c",
            "a!==b",
        ] {
            assert!(check_fields(bad).is_err(), "{bad}");
        }
    }
}
