//! One loaded script.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use narthex_extension::{AlertScript, EvaluateContext, ScriptAlert, ScriptError};
use rhai::{AST, Dynamic, Engine, Map, Scope};

use crate::alert;
use crate::config::Limits;
use crate::context::{Context, Memory, QUERY_ERROR};
use crate::engine::{self, Fault, Watchdog};
use crate::series::duration_ms;

/// What the last evaluation used, for the API.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    pub evaluations: u64,
    pub failures: u64,
    pub last_duration_ms: f64,
    pub last_alerts: usize,
    /// None after a good evaluation.
    pub last_error: Option<String>,
}

pub(crate) struct Script {
    name: String,
    file: String,
    engine: Engine,
    ast: AST,
    limits: Limits,
    watchdog: Watchdog,
    interval_ms: Option<u64>,
    params: Map,
    /// Shared with the script's next version, so that a reload forgets nothing.
    memory: Arc<Mutex<Memory>>,
    usage: Mutex<Usage>,
}

impl Script {
    /// Compiles `source`; the error starts with the file's name and the place.
    pub(crate) fn load(
        name: &str,
        source: &str,
        limits: &Limits,
        params: Option<&serde_json::Value>,
        memory: Arc<Mutex<Memory>>,
    ) -> Result<Script, String> {
        let file = format!("{name}.rhai");
        let watchdog = Watchdog::default();
        let engine = engine::build(name, limits, watchdog.clone());
        let ast = engine
            .compile(source)
            .map_err(|e| format!("{}: {}", engine::place(&file, e.position()), e.err_type()))?;
        if !ast
            .iter_functions()
            .any(|f| f.name == "evaluate" && f.params.len() == 1)
        {
            return Err(format!(
                "{file}: no function `evaluate(ctx)`: that is what is called"
            ));
        }
        let constants = Constants::read(&ast).map_err(|e| format!("{file}: {e}"))?;
        let params = merged_params(constants.params, params).map_err(|e| format!("{file}: {e}"))?;
        Ok(Script {
            name: name.to_owned(),
            file,
            engine,
            ast: ast.clone_functions_only(),
            limits: limits.clone(),
            watchdog,
            interval_ms: constants.interval_ms,
            params,
            memory,
            usage: Mutex::new(Usage::default()),
        })
    }

    pub(crate) fn usage(&self) -> Usage {
        self.usage
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn run(&self, context: &EvaluateContext) -> Result<Vec<ScriptAlert>, ScriptError> {
        let before = self
            .memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let given = Context {
            now_ms: context.now_ms,
            query: context.query.clone(),
            params: self.params.clone(),
            memory: Arc::new(Mutex::new(before)),
        };
        let _guard = self.watchdog.start(&self.limits, context.cancel.clone());
        let returned: Dynamic = self
            .engine
            .call_fn(&mut Scope::new(), &self.ast, "evaluate", (given.clone(),))
            .map_err(|e| self.fault(&e))?;
        let alerts = alert::read(returned, self.limits.alerts)
            .map_err(|e| ScriptError::Failed(format!("{}: {e}", self.file)))?;
        let after = given
            .memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        self.check_state(&after.state)?;
        *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = after;
        Ok(alerts)
    }

    fn fault(&self, error: &rhai::EvalAltResult) -> ScriptError {
        match engine::explain(&self.file, &self.limits, error) {
            Fault::Limit(text) => ScriptError::LimitExceeded(text),
            Fault::Failed(text) if text.contains(QUERY_ERROR) => ScriptError::Query(text),
            Fault::Failed(text) => ScriptError::Failed(text),
        }
    }

    fn check_state(&self, state: &Map) -> Result<(), ScriptError> {
        let bytes = state_bytes(state);
        if bytes <= self.limits.state_bytes {
            return Ok(());
        }
        Err(ScriptError::LimitExceeded(format!(
            "{}: ctx.state takes {bytes} bytes, more than {} (raise it with scripts.limits.state)",
            self.file, self.limits.state_bytes
        )))
    }
}

impl AlertScript for Script {
    fn name(&self) -> &str {
        &self.name
    }

    fn interval_ms(&self) -> Option<u64> {
        self.interval_ms
    }

    fn evaluate(&self, context: &EvaluateContext) -> Result<Vec<ScriptAlert>, ScriptError> {
        let started = Instant::now();
        let result = self.run(context);
        let mut usage = self.usage.lock().unwrap_or_else(PoisonError::into_inner);
        usage.evaluations += 1;
        usage.last_duration_ms = started.elapsed().as_secs_f64() * 1000.0;
        match &result {
            Ok(alerts) => {
                usage.last_alerts = alerts.len();
                usage.last_error = None;
            }
            Err(error) => {
                usage.failures += 1;
                usage.last_error = Some(error.to_string());
            }
        }
        result
    }
}

/// The constants at the top of a script that the host reads.
struct Constants {
    interval_ms: Option<u64>,
    params: Map,
}

impl Constants {
    fn read(ast: &AST) -> Result<Constants, String> {
        let mut constants = Constants {
            interval_ms: None,
            params: Map::new(),
        };
        for (name, _, value) in ast.iter_literal_variables(true, false) {
            match name {
                "INTERVAL" => constants.interval_ms = Some(read_interval(value)?),
                "PARAMS" => {
                    let map = value.try_cast::<Map>();
                    constants.params = map.ok_or("const PARAMS: expected a map of literals")?;
                }
                _ => {}
            }
        }
        Ok(constants)
    }
}

fn read_interval(value: Dynamic) -> Result<u64, String> {
    let text = value
        .into_string()
        .map_err(|kind| format!("const INTERVAL: expected a duration as \"1m\", got {kind}"))?;
    match duration_ms(&text) {
        Ok(0) => Err("const INTERVAL: must be greater than 0".to_owned()),
        Ok(interval_ms) => Ok(interval_ms),
        Err(e) => Err(format!("const INTERVAL: {e}")),
    }
}

/// The script's own parameters with the configured ones over them.
fn merged_params(mut own: Map, configured: Option<&serde_json::Value>) -> Result<Map, String> {
    match configured {
        None => {}
        Some(serde_json::Value::Object(fields)) => {
            for (name, value) in fields {
                own.insert(name.as_str().into(), to_dynamic(value));
            }
        }
        Some(other) => return Err(format!("params: expected a map, got {other}")),
    }
    Ok(own)
}

fn to_dynamic(value: &serde_json::Value) -> Dynamic {
    use serde_json::Value;
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(int), _) => int.into(),
            (None, float) => float.unwrap_or(f64::NAN).into(),
        },
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items
            .iter()
            .map(to_dynamic)
            .collect::<Vec<Dynamic>>()
            .into(),
        Value::Object(fields) => {
            let map: BTreeMap<_, _> = fields
                .iter()
                .map(|(name, value)| (name.as_str().into(), to_dynamic(value)))
                .collect();
            Dynamic::from_map(map)
        }
    }
}

/// An estimate that grows with what the state holds: text as it is, 16 bytes for everything else.
fn state_bytes(state: &Map) -> usize {
    state
        .iter()
        .map(|(name, value)| name.len() + dynamic_bytes(value))
        .sum()
}

fn dynamic_bytes(value: &Dynamic) -> usize {
    if let Some(map) = value.read_lock::<Map>() {
        return 16 + state_bytes(&map);
    }
    if let Some(array) = value.read_lock::<rhai::Array>() {
        return 16 + array.iter().map(dynamic_bytes).sum::<usize>();
    }
    match value.read_lock::<rhai::ImmutableString>() {
        Some(text) => 16 + text.len(),
        None => 16,
    }
}
