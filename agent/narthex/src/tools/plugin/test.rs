//! `narthex plugin test`: a project's own tests, then the built plugin in its recorded cases.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use clap::Args;
use narthex_plugin_host::workbench::Loaded;
use similar::TextDiff;

use super::cases::{Case, Outcome};
use super::project::{Profile, Project};
use super::{Shop, recording};

#[derive(Args, Debug)]
#[command(after_help = "A case is a folder in fixtures/:
  expected.txt  what the plugin must give; --update writes it
  case.yml      config, clock, collections, interval, duration, environment, dns, queries, system, grant
  http.yml      what servers answer; --record writes it
  files/        what the plugin sees as /

Example:
  narthex plugin test --update")]
pub(crate) struct Test {
    /// The project's folder.
    #[arg(default_value = ".")]
    project: PathBuf,
    /// Only this case, and not the project's own tests; may be given several times.
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// Take what the plugin gives now for what is expected.
    #[arg(long, visible_alias = "bless")]
    update: bool,
    /// Send the requests to the real servers, and keep what they answer and what the plugin makes of
    /// it.
    #[arg(long)]
    record: bool,
}

impl Test {
    pub(crate) fn run(self, out: &mut dyn Write) -> anyhow::Result<()> {
        let project = Project::open(&self.project)?;
        let cases = self.cases(&project)?;
        if self.cases.is_empty() {
            project.test()?;
            writeln!(out, "the project's own tests: ok")?;
            out.flush()?;
        }
        if cases.is_empty() {
            writeln!(
                out,
                "there are no recorded cases: make a folder fixtures/NAME, and run this with \
                 --record, or with --update"
            )?;
            return Ok(());
        }
        let file = project.build(Profile::Release)?;
        let shop = Shop::open()?;
        let plugin = shop.load(&file)?;
        let _inside = shop.runtime.enter();
        let mut failed = 0;
        for case in cases {
            failed += usize::from(!self.run_case(case, &plugin, out)?);
            out.flush()?;
        }
        ensure!(failed == 0, "{failed} of the recorded cases failed");
        Ok(())
    }

    fn cases(&self, project: &Project) -> anyhow::Result<Vec<Case>> {
        let all: Result<Vec<Case>, _> = project.cases()?.iter().map(|at| Case::read(at)).collect();
        let mut all = all?;
        if let Some(name) = (self.cases.iter()).find(|name| !all.iter().any(|c| c.name == **name)) {
            bail!("there is no case fixtures/{name}");
        }
        all.retain(|case| self.cases.is_empty() || self.cases.contains(&case.name));
        Ok(all)
    }

    /// Gives whether it went well.
    fn run_case(
        &self,
        mut case: Case,
        plugin: &Loaded,
        out: &mut dyn Write,
    ) -> anyhow::Result<bool> {
        case.case.recording.records_http = self.record;
        let outcome = case.run(plugin)?;
        if self.record {
            recording::write(&case.folder, &outcome.exchanges)?;
        }
        let name = &case.name;
        if !outcome.unknown.is_empty() {
            writeln!(out, "case {name}: asked for what is not recorded")?;
            for what in &outcome.unknown {
                writeln!(out, "  {what}")?;
            }
            return Ok(false);
        }
        if self.update || self.record {
            let file = case.expected_file();
            std::fs::write(&file, &outcome.text).with_context(|| file.display().to_string())?;
            writeln!(out, "case {name}: written")?;
            return Ok(true);
        }
        compare(&case, &outcome, out)
    }
}

fn compare(case: &Case, outcome: &Outcome, out: &mut dyn Write) -> anyhow::Result<bool> {
    let name = &case.name;
    let expected = case.expected()?;
    if expected.as_ref() == Some(&outcome.text) {
        writeln!(out, "case {name}: ok")?;
        return Ok(true);
    }
    match expected {
        Some(_) => writeln!(
            out,
            "case {name}: differs (- expected, + given); --update takes what is given"
        )?,
        None => writeln!(
            out,
            "case {name}: there is no expected.txt; --update writes what is given"
        )?,
    }
    let expected = expected.unwrap_or_default();
    let diff = TextDiff::from_lines(&expected, &outcome.text);
    for hunk in diff.unified_diff().iter_hunks() {
        write!(out, "{hunk}")?;
    }
    Ok(false)
}
