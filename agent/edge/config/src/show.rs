//! A checked file as text for others to see: normalised, without its secrets.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::scalar;
use crate::schema::{Kind, Object, without_password};
use crate::yaml::{Node, Value};

const HIDDEN: &str = "<secret>";

/// The tree as YAML, secrets as `<secret>`. Empty for an empty document.
pub(crate) fn yaml(node: &Node, kind: Kind) -> String {
    if node.is_null() {
        return String::new();
    }
    // The writer fails on keys that are no text, and there are none.
    serde_yaml::to_string(&Shown { node, kind }).unwrap_or_default()
}

struct Shown<'a> {
    node: &'a Node,
    kind: Kind,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.node.value {
            Value::Null => serializer.serialize_none(),
            Value::List(items) => {
                let kind = item_kind(self.kind);
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for node in items {
                    list.serialize_element(&Shown { node, kind })?;
                }
                list.end()
            }
            Value::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for entry in entries {
                    let kind = entry_kind(self.kind, &entry.key);
                    let node = &entry.value;
                    map.serialize_entry(&entry.key, &Shown { node, kind })?;
                }
                map.end()
            }
            Value::Scalar { text, quoted, .. } => scalar(text, *quoted, self.kind, serializer),
        }
    }
}

fn item_kind(kind: Kind) -> Kind {
    match kind {
        Kind::List(item) | Kind::ListOrOne(item) => *item,
        Kind::Objects(object) => Kind::Object(object),
        Kind::Secret => Kind::Secret,
        _ => Kind::Anything,
    }
}

fn entry_kind(kind: Kind, key: &str) -> Kind {
    let of = |object: &Object| object.kind_of(key);
    match kind {
        Kind::Object(object) | Kind::TextOr(object) | Kind::CheckedOr(_, object) => {
            of(object).unwrap_or(Kind::Anything)
        }
        Kind::Map(_, value) => *value,
        Kind::Secret => Kind::Secret,
        _ if sounds_secret(key) => Kind::Secret,
        _ => Kind::Anything,
    }
}

/// For parts whose fields nobody here knows: rather hide one too many.
fn sounds_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let words = [
        "password",
        "passwd",
        "secret",
        "token",
        "credential",
        "apikey",
        "api_key",
    ];
    words.iter().any(|word| key.contains(word)) && !key.ends_with("_file")
}

fn scalar<S: Serializer>(
    text: &str,
    quoted: bool,
    kind: Kind,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let plain = !quoted;
    match kind {
        Kind::Secret | Kind::CheckedSecret(_) if text.is_empty() => serializer.serialize_str(""),
        Kind::Secret | Kind::CheckedSecret(_) => serializer.serialize_str(HIDDEN),
        Kind::ListOrOne(item) => scalar(text, quoted, *item, serializer),
        Kind::Bool | Kind::Anything if plain && scalar::boolean(text).is_some() => {
            serializer.serialize_bool(scalar::boolean(text).unwrap_or_default())
        }
        Kind::Whole(..) | Kind::Number(..) | Kind::Anything
            if plain && scalar::whole(text).is_some() =>
        {
            serializer.serialize_i64(scalar::whole(text).unwrap_or_default())
        }
        Kind::Number(..) | Kind::Anything if plain && scalar::float(text).is_some() => {
            serializer.serialize_f64(scalar::float(text).unwrap_or_default())
        }
        _ => serializer.serialize_str(&without_password(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    #[test]
    fn secrets_are_hidden_and_the_rest_reads_back() {
        let text = "
remote_write:
- url: http://me:hush@remote/push
  basic_auth: {username: me, password: hush}
  headers: {X-Key: hush}
scrape_configs:
- job_name: 'yes'
  bearer_token: hush
  sample_limit: 10
  honor_labels: yes
  http_headers: {X-A: {secrets: [hush, hush], values: ['1']}}
  static_configs:
  - targets: ['[::1]:9090', 'a:1']
    labels: {a: 1, b: \"x\\ny: z\", c: '#', d: ''}
  mine_sd_configs:
  - {api_token: hush, nested: {password: {a: hush}}, token_file: shown, share: 1.5}
";
        let kind = crate::prometheus::SHAPE;
        let shown = yaml(&yaml::parse(text).unwrap(), kind);
        assert!(!shown.contains("hush"), "{shown}");
        assert_eq!(shown.matches("<secret>").count(), 8, "{shown}");
        for part in [
            "honor_labels: true",
            "sample_limit: 10",
            "token_file: shown",
            "share: 1.5",
        ] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
        let again = yaml(&yaml::parse(&shown).unwrap(), kind);
        assert_eq!(again, shown);
    }
}
