//! Writes answers of servers into a case, as `http.yml` and a file for each body that is no short
//! text.

use std::fs;
use std::path::Path;

use anyhow::Context;
use narthex_plugin_host::replay::{Answer, Exchange};
use serde_json::Value;

/// Headers that say nothing to a plugin, or what nobody else should read.
const LEFT_OUT: [&str; 4] = ["date", "server", "set-cookie", "via"];

/// A longer body gets a file of its own.
const SHORT: usize = 200;

const HEAD: &str = "# What servers answered. `narthex plugin test --record` asks them again and \
                    writes this anew.\n";

pub(crate) fn write(folder: &Path, exchanges: &[Exchange]) -> anyhow::Result<()> {
    let mut yaml = HEAD.to_owned();
    for (at, exchange) in exchanges.iter().enumerate() {
        entry(folder, at + 1, exchange, &mut yaml)?;
    }
    let path = folder.join("http.yml");
    fs::write(&path, yaml).with_context(|| path.display().to_string())
}

fn entry(
    folder: &Path,
    number: usize,
    exchange: &Exchange,
    yaml: &mut String,
) -> anyhow::Result<()> {
    let quoted = |text: &str| Value::from(text).to_string();
    yaml.push_str(&format!("- url: {}\n", quoted(&exchange.url)));
    if exchange.method != "GET" {
        yaml.push_str(&format!("  method: {}\n", exchange.method));
    }
    let (status, headers, body) = match &exchange.answer {
        Answer::Given {
            status,
            headers,
            body,
            ..
        } => (status, headers, body),
        Answer::Failed(failure) => {
            yaml.push_str(&format!("  error: {}\n", failure.as_str()));
            return Ok(());
        }
    };
    yaml.push_str(&format!("  status: {status}\n"));
    let kept = |(name, _): &&(String, String)| !LEFT_OUT.contains(&name.as_str());
    let mut headers = headers.iter().filter(kept).peekable();
    if headers.peek().is_some() {
        yaml.push_str("  headers:\n");
    }
    for (name, value) in headers {
        yaml.push_str(&format!("    {}: {}\n", quoted(name), quoted(value)));
    }
    match std::str::from_utf8(body) {
        Ok(text) if text.len() <= SHORT => {
            yaml.push_str(&format!("  body: {}\n", quoted(text)));
        }
        _ => {
            let ending = match serde_json::from_slice::<Value>(body) {
                Ok(_) => "json",
                Err(_) => "body",
            };
            let file = format!("answer-{number}.{ending}");
            let path = folder.join(&file);
            fs::write(&path, body).with_context(|| path.display().to_string())?;
            yaml.push_str(&format!("  body_file: {file}\n"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use narthex_plugin_host::replay::Failure;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let answer = |status, headers: &[(&str, &str)], body: &str| Answer::Given {
            status,
            headers: headers
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
            body: body.as_bytes().to_vec().into(),
            stays_open: false,
        };
        let exchange = |method: &str, url: &str, answer| Exchange {
            method: method.to_owned(),
            url: url.to_owned(),
            answer,
        };
        let long = format!("[{}1]", "1,".repeat(200));
        let recorded = vec![
            exchange(
                "GET",
                "http://a/",
                answer(200, &[("content-type", "x: \"y\"")], "a\n: b"),
            ),
            exchange("POST", "http://a/b?c=d", answer(503, &[], &long)),
            exchange("GET", "http://a/", answer(204, &[], "")),
            exchange("GET", "http://c/", Answer::Failed(Failure::Tls)),
        ];
        write(folder.path(), &recorded).unwrap();
        let case = narthex_config::plugin_case(folder.path()).unwrap();
        assert_eq!(case.recording.http, recorded);
        assert_eq!(
            fs::read_to_string(folder.path().join("answer-2.json")).unwrap(),
            long
        );

        let cookie = answer(200, &[("set-cookie", "secret"), ("date", "now")], "");
        write(folder.path(), &[exchange("GET", "http://a/", cookie)]).unwrap();
        let yaml = fs::read_to_string(folder.path().join("http.yml")).unwrap();
        assert!(
            !yaml.contains("secret") && !yaml.contains("headers"),
            "{yaml}"
        );
    }
}
