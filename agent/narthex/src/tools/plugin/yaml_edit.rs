//! Puts a grant into the text of `narthex.yml`.
//!
//! Keeps true: but for the lines of that grant, the text stays as it is, comments and all; and what
//! the new text means is what the old one meant, with the grant. Where that cannot be had, nothing
//! is changed: the result is read again and compared.

use std::ops::Range;

use serde_json::Value;

/// The new text, or why there is none. `key` and `value` are YAML.
pub(crate) fn with_grant(
    text: &str,
    plugin: &str,
    key: &str,
    value: &str,
) -> Result<String, String> {
    let old = narthex_config::yaml_to_json(text)?;
    let granted = narthex_config::yaml_to_json(value)?;
    let new = edited(text, plugin, key, value)?;
    let expected = with_entry(old, &["plugins", "grants", plugin], granted)
        .ok_or("`plugins` or `plugins.grants` is no mapping")?;
    match narthex_config::yaml_to_json(&new) {
        Ok(read) if read == expected => Ok(new),
        _ => Err("it is written in a way that this command does not understand".to_owned()),
    }
}

/// The value with the one at a path set. None where the path leads through something else than
/// mappings.
fn with_entry(value: Value, path: &[&str], entry: Value) -> Option<Value> {
    let [first, rest @ ..] = path else {
        return Some(entry);
    };
    let mut map = match value {
        Value::Object(map) => map,
        Value::Null => serde_json::Map::new(),
        _ => return None,
    };
    let below = map.remove(*first).unwrap_or(Value::Null);
    map.insert((*first).to_owned(), with_entry(below, rest, entry)?);
    Some(Value::Object(map))
}

/// A key of a block mapping, by its lines.
struct Block<'a> {
    /// The line of the key.
    line: usize,
    indent: usize,
    /// What stands behind the key on its line, without a comment.
    inline: &'a str,
    /// The lines below it.
    body: Range<usize>,
}

fn edited(text: &str, plugin: &str, key: &str, value: &str) -> Result<String, String> {
    let lines: Vec<&str> = text.lines().collect();
    if lines.iter().any(|line| *line == "..." || *line == "---") {
        return Err("it has several documents, or marks of one".to_owned());
    }
    let Some(plugins) = find(&lines, 0..lines.len(), "plugins") else {
        let mut new = text.to_owned();
        if !new.is_empty() && !new.ends_with('\n') {
            new.push('\n');
        }
        if !new.is_empty() {
            new.push('\n');
        }
        new.push_str(&format!("plugins:\n  grants:\n    {key}: {value}\n"));
        return Ok(new);
    };
    if !plugins.inline.is_empty() {
        return Err("`plugins` is written on one line".to_owned());
    }
    let child = |block: &Block<'_>| {
        let body = lines.get(block.body.clone()).unwrap_or_default();
        let first = body.iter().find(|line| is_content(line));
        first.map_or(block.indent + 2, |line| indent_of(line))
    };
    let inner = child(&plugins);
    let Some(grants) = find(&lines, plugins.body.clone(), "grants") else {
        let added = format!(
            "{:inner$}grants:\n{:deep$}{key}: {value}",
            "",
            "",
            deep = inner + 2
        );
        return Ok(insert(&lines, plugins.line + 1, &added));
    };
    match grants.inline {
        "" => {}
        "{}" => {
            let old = lines.get(grants.line).copied().unwrap_or_default();
            let emptied = old.replacen(" {}", "", 1);
            let deep = grants.indent + 2;
            let new = format!("{}\n{:deep$}{key}: {value}", emptied.trim_end(), "");
            return Ok(replace(&lines, grants.line, &new));
        }
        _ => return Err("`plugins.grants` is written on one line".to_owned()),
    }
    let deep = child(&grants);
    match find(&lines, grants.body.clone(), plugin) {
        None => {
            let added = format!("{:deep$}{key}: {value}", "");
            Ok(insert(&lines, grants.line + 1, &added))
        }
        Some(entry) if entry.inline.is_empty() => {
            Err(format!("the grant of {plugin} is written on several lines"))
        }
        Some(entry) => {
            let old = lines.get(entry.line).copied().unwrap_or_default();
            let new = old.replacen(entry.inline, value, 1);
            Ok(replace(&lines, entry.line, &new))
        }
    }
}

/// A key among those of the outermost mapping in these lines.
fn find<'a>(lines: &[&'a str], within: Range<usize>, key: &str) -> Option<Block<'a>> {
    let body = lines.get(within.clone())?;
    let outermost = body.iter().filter(|line| is_content(line));
    let indent = outermost.map(|line| indent_of(line)).min()?;
    let at_indent = |at: &usize| {
        lines
            .get(*at)
            .is_some_and(|line| is_content(line) && indent_of(line) == indent)
    };
    let line = within.clone().filter(at_indent).find(|at| {
        let text = lines.get(*at).map_or("", |line| line.trim());
        key_of(text).is_some_and(|(own, _)| own == key)
    })?;
    let end = (line + 1..within.end).find(at_indent);
    let (_, inline) = key_of(lines.get(line)?.trim())?;
    Some(Block {
        line,
        indent,
        inline: without_comment(inline),
        body: line + 1..end.unwrap_or(within.end),
    })
}

/// The key of a line, unquoted, and what comes behind it.
fn key_of(line: &str) -> Option<(&str, &str)> {
    let (key, rest) = line.split_once(':')?;
    let key = key.trim();
    let bare = |quote: char| key.strip_prefix(quote)?.strip_suffix(quote);
    let key = bare('"').or_else(|| bare('\'')).unwrap_or(key);
    (rest.is_empty() || rest.starts_with(' ')).then_some((key, rest.trim()))
}

fn without_comment(text: &str) -> &str {
    match text.starts_with('#') {
        true => "",
        false => text.split(" #").next().unwrap_or_default().trim_end(),
    }
}

fn is_content(line: &str) -> bool {
    let text = line.trim();
    !text.is_empty() && !text.starts_with('#')
}

fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

fn insert(lines: &[&str], at: usize, added: &str) -> String {
    let (before, after) = lines.split_at(at.min(lines.len()));
    joined(before.iter().chain([&added]).chain(after))
}

fn replace(lines: &[&str], at: usize, new: &str) -> String {
    joined(
        lines
            .iter()
            .enumerate()
            .map(|(number, line)| match number == at {
                true => &new,
                false => line,
            }),
    )
}

fn joined<'a>(lines: impl Iterator<Item = &'a &'a str>) -> String {
    lines.flat_map(|line| [*line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "{ files: [/a], system: true }";

    #[test]
    fn everything_else_stays() {
        for (text, expected) in [
            ("", "plugins:\n  grants:\n    shop: VALUE\n"),
            (
                "# mine\nexporters: [] # none",
                "# mine\nexporters: [] # none\n\nplugins:\n  grants:\n    shop: VALUE\n",
            ),
            (
                "plugins: # these\n    # all\n    directory: p\nquery: {}\n",
                "plugins: # these\n    grants:\n      shop: VALUE\n    # all\n    directory: p\nquery: {}\n",
            ),
            (
                "plugins:\n  directory: p\n  grants: {} # nobody\n  limits: { series: 1 }\n",
                "plugins:\n  directory: p\n  grants: # nobody\n    shop: VALUE\n  limits: { series: 1 }\n",
            ),
            (
                "plugins:\n  grants:\n",
                "plugins:\n  grants:\n    shop: VALUE\n",
            ),
            (
                "plugins:\n  grants:\n      # the node\n      node:\n        files: [/proc]\n\n# end\n",
                "plugins:\n  grants:\n      shop: VALUE\n      # the node\n      node:\n        files: [/proc]\n\n# end\n",
            ),
            (
                "plugins:\n  grants:\n    a: { query: true }\n    shop: { files: [/b] } # old\n    z: {}\n",
                "plugins:\n  grants:\n    a: { query: true }\n    shop: VALUE # old\n    z: {}\n",
            ),
            (
                "plugins:\n  grants:\n    \"shop\": { files: [/b] }\n",
                "plugins:\n  grants:\n    \"shop\": VALUE\n",
            ),
            (
                "exporters:\n- plugin: shop\n  config: { plugins: 1 }\nplugins:\n",
                "exporters:\n- plugin: shop\n  config: { plugins: 1 }\nplugins:\n  grants:\n    shop: VALUE\n",
            ),
        ] {
            let new = with_grant(text, "shop", "shop", VALUE);
            assert_eq!(new, Ok(expected.replace("VALUE", VALUE)), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_stays_as_it_is() {
        for (text, expected) in [
            (
                "plugins: { directory: p }\n",
                "`plugins` is written on one line",
            ),
            (
                "plugins:\n  grants: { a: {} }\n",
                "`plugins.grants` is written on one line",
            ),
            (
                "plugins:\n  grants:\n    shop:\n      files: [/b]\n",
                "the grant of shop is written on several lines",
            ),
            (
                "---\nplugins:\n",
                "it has several documents, or marks of one",
            ),
            ("plugins: [\n", "line "),
            ("plugins: 3\n", "`plugins` is written on one line"),
            ("[a, b]\n", "`plugins` or `plugins.grants` is no mapping"),
            ("{ query: {} }\n", "it is written in a way"),
            (
                "plugins: &p\n  directory: p\n",
                "`plugins` is written on one line",
            ),
            (
                "plugins:\n  grants:\n    a: &a\n      files: [/x]\n    shop: { files: [/b],\n      env: [A] }\n",
                "it is written in a way",
            ),
        ] {
            let error = with_grant(text, "shop", "shop", VALUE).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }
}
