//! `narthex plugin new`: a project from a template.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};

use super::project::Manifest;

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  narthex plugin new shop-tills --kind exporter")]
pub(crate) struct New {
    /// What the plugin is called: its file, its job and its metrics are named after it.
    name: String,
    /// An exporter gives metrics, a discovery finds targets.
    #[arg(long)]
    kind: Kind,
    /// The folder of narthex-plugin-sdk [default: what NARTHEX_PLUGIN_SDK names; else that of the
    /// checkout of Narthex that this is run in, or that this program was built in; else the
    /// published version].
    #[arg(long, value_name = "FOLDER")]
    sdk: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Exporter,
    Discovery,
}

/// A template's files: where each goes, and what it holds.
type Template = &'static [(&'static str, &'static str)];

macro_rules! template {
    ($kind:literal: $($to:literal from $from:literal,)*) => {
        &[$((
            $to,
            include_str!(concat!("../../../../../plugin-sdk/templates/", $kind, "/", $from)),
        ),)*]
    };
}

const EXPORTER: Template = template!("exporter":
    "Cargo.toml" from "Cargo.toml.template",
    "README.md" from "README.md",
    ".gitignore" from "gitignore.template",
    "src/lib.rs" from "src/lib.rs",
    "fixtures/all-well/http.yml" from "fixtures/all-well/http.yml",
    "fixtures/all-well/status.json" from "fixtures/all-well/status.json",
    "fixtures/all-well/expected.txt" from "fixtures/all-well/expected.txt",
);

const DISCOVERY: Template = template!("discovery":
    "Cargo.toml" from "Cargo.toml.template",
    "README.md" from "README.md",
    ".gitignore" from "gitignore.template",
    "src/lib.rs" from "src/lib.rs",
    "fixtures/inventory-fails-once/case.yml" from "fixtures/inventory-fails-once/case.yml",
    "fixtures/inventory-fails-once/http.yml" from "fixtures/inventory-fails-once/http.yml",
    "fixtures/inventory-fails-once/machines.json" from "fixtures/inventory-fails-once/machines.json",
    "fixtures/inventory-fails-once/expected.txt" from "fixtures/inventory-fails-once/expected.txt",
);

impl Kind {
    fn template(self) -> Template {
        match self {
            Kind::Exporter => EXPORTER,
            Kind::Discovery => DISCOVERY,
        }
    }
}

impl New {
    pub(crate) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        check_name(&self.name)?;
        let folder = PathBuf::from(&self.name);
        ensure!(
            !folder.exists(),
            "there is a {} already: take another name, or remove it",
            folder.display()
        );
        let sdk = self.sdk()?;
        for (to, text) in self.kind.template() {
            let path = folder.join(to);
            let parent = path.parent().unwrap_or(&folder);
            let written =
                fs::create_dir_all(parent).and_then(|()| fs::write(&path, self.named(text, &sdk)));
            written.with_context(|| format!("writing {}", path.display()))?;
        }
        let name = &self.name;
        match &sdk {
            Some(sdk) => writeln!(out, "{name}: made, with the SDK in {}", sdk.display())?,
            None => writeln!(
                out,
                "{name}: made, with narthex-plugin-sdk as it is published; for that of a checkout of \
                 Narthex give `--sdk FOLDER`"
            )?,
        }
        writeln!(
            out,
            "go on with:\n  cd {name}\n  narthex plugin test\n  narthex plugin run --grant-all"
        )?;
        Ok(())
    }

    fn named(&self, text: &str, sdk: &Option<PathBuf>) -> String {
        let words = self.name.split('-').map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(letters).collect::<String>()
        });
        let text = match sdk {
            Some(sdk) => with_path(text, sdk),
            None => text.to_owned(),
        };
        text.replace("MyPlugin", &words.collect::<String>())
            .replace("my_plugin", &self.name.replace('-', "_"))
            .replace("my-plugin", &self.name)
    }

    /// The SDK's folder; none for the published one.
    fn sdk(&self) -> anyhow::Result<Option<PathBuf>> {
        let from_environment = std::env::var_os("NARTHEX_PLUGIN_SDK").map(PathBuf::from);
        let named = [
            (&self.sdk, "--sdk"),
            (&from_environment, "NARTHEX_PLUGIN_SDK"),
        ];
        let named = named
            .into_iter()
            .find_map(|(folder, by)| Some((folder.as_ref()?, by)));
        if let Some((folder, by)) = named {
            ensure!(
                is_sdk(folder),
                "{by} {0}: there is no {0}/Cargo.toml of narthex-plugin-sdk",
                folder.display()
            );
            return Ok(Some(folder.canonicalize()?));
        }
        // The checkout may be gone, or on another machine, where this program was built.
        let built_from = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let program = std::env::current_exe().ok();
        let places = [std::env::current_dir().ok(), program, Some(built_from)];
        let above = places.iter().flatten().flat_map(|place| place.ancestors());
        Ok(above
            .map(|folder| folder.join("plugin-sdk"))
            .find(|folder| is_sdk(folder)))
    }
}

fn is_sdk(folder: &Path) -> bool {
    let manifest = Manifest::read(&folder.join("Cargo.toml"));
    manifest.is_some_and(|manifest| manifest.package == "narthex-plugin-sdk")
}

/// In the place of the line that asks for the published version.
fn with_path(text: &str, sdk: &Path) -> String {
    let path = serde_json::Value::from(sdk.display().to_string());
    let lines =
        text.split_inclusive('\n')
            .map(|line| match line.starts_with("narthex-plugin-sdk = ") {
                true => format!("narthex-plugin-sdk = {{ path = {path} }}\n"),
                false => line.to_owned(),
            });
    lines.collect()
}

/// Names of files, jobs, metrics and crates at once.
fn check_name(name: &str) -> anyhow::Result<()> {
    /// What a crate cannot be called, as its code would not compile.
    const TAKEN: [&str; 42] = [
        "abstract", "alloc", "as", "async", "await", "become", "box", "break", "const", "continue",
        "core", "crate", "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for",
        "gen", "if", "impl", "in", "let", "loop", "match", "mod", "move", "mut", "pub", "ref",
        "return", "self", "static", "std", "struct", "super", "test", "true", "type",
    ];
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    if !begins || !name.chars().all(allowed) || name.ends_with('-') || name.contains("--") {
        bail!(
            "`{name}` is no name for a plugin: small letters, digits and single hyphens, a letter \
             first, as in shop-tills"
        );
    }
    ensure!(
        !TAKEN.contains(&name) && name.len() <= 64,
        "`{name}` is no name for a plugin: it is too long, or a word of Rust"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_judged() {
        for (name, expected) in [
            ("uptime", true),
            ("shop-tills", true),
            ("s3", true),
            ("", false),
            ("Shop", false),
            ("shop_tills", false),
            ("3s", false),
            ("-a", false),
            ("a-", false),
            ("a--b", false),
            ("a/b", false),
            ("..", false),
            ("a.wasm", false),
            ("ü", false),
            ("fn", false),
            ("test", false),
        ] {
            assert_eq!(check_name(name).is_ok(), expected, "{name}");
        }
    }

    /// A file that is added to a template must be made, too.
    #[test]
    fn templates_are_whole() {
        let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugin-sdk/templates");
        for (name, template) in [("exporter", EXPORTER), ("discovery", DISCOVERY)] {
            let mut there = BTreeSet::new();
            files(&templates.join(name), "", &mut there);
            let made = template.iter().map(|(to, _)| match *to {
                "Cargo.toml" => "Cargo.toml.template".to_owned(),
                ".gitignore" => "gitignore.template".to_owned(),
                to => to.to_owned(),
            });
            assert_eq!(made.collect::<BTreeSet<String>>(), there, "{name}");
        }
    }

    fn files(folder: &Path, below: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{below}{}", entry.file_name().to_str().unwrap());
            match entry.file_type().unwrap().is_dir() {
                true => files(&entry.path(), &format!("{name}/"), found),
                false => {
                    found.insert(name);
                }
            }
        }
    }

    #[test]
    fn the_name_is_written_in_its_three_ways() {
        let new = New {
            name: "shop-tills".to_owned(),
            kind: Kind::Exporter,
            sdk: None,
        };
        let sdk = Some(PathBuf::from("/a \"b\""));
        let text = "my-plugin my_plugin MyPlugin\nnarthex-plugin-sdk = \"0.1\"\n";
        assert_eq!(
            new.named(text, &sdk),
            "shop-tills shop_tills ShopTills\nnarthex-plugin-sdk = { path = \"/a \\\"b\\\"\" }\n"
        );
    }
}
