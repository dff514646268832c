//! Runs a parsed template on a value.
//!
//! Keeps true: what one run may take is bounded in output, nesting and steps, whatever the
//! template. Messages name the template, line, column and the part that failed, as Go's do.

use std::sync::Arc;

use narthex_model::labels::quoted;

use crate::ast::{Branch, Command, Node, NodeKind, NodeList, Operand, OperandKind, Pipeline};
use crate::builtins;
use crate::functions::{Function, Functions, Param};
use crate::value::{BoundedText, TooLong, Value};
use crate::{Definition, MAX_OUTPUT_BYTES, TemplateError, TemplateSet};

/// How deep templates may call each other.
const MAX_CALL_DEPTH: usize = 50;
/// How deep actions may be nested in each other, called templates included.
const MAX_NESTING: usize = 250;
/// How many actions and calls one run may make.
const MAX_STEPS: usize = 1_000_000;

/// Runs one template of a set.
pub(crate) fn execute(
    set: &TemplateSet,
    template: &Definition,
    data: &Value,
    functions: &Functions<'_>,
) -> Result<String, TemplateError> {
    let mut state = State {
        set,
        functions,
        template,
        at: At::Nothing,
        out: BoundedText::new(MAX_OUTPUT_BYTES),
        variables: vec![(Arc::from("$"), data.clone())],
        call_depth: 0,
        nesting: 0,
        steps: 0,
    };
    match state.walk_list(data, &template.root) {
        Err(Stop::Failed(error)) => Err(error),
        Ok(()) | Err(Stop::Break | Stop::Continue) => Ok(state.out.into_string()),
    }
}

struct State<'t, 'f> {
    set: &'t TemplateSet,
    functions: &'t Functions<'f>,
    template: &'t Definition,
    /// The part that is being run, for messages.
    at: At<'t>,
    out: BoundedText,
    variables: Vec<(Arc<str>, Value)>,
    call_depth: usize,
    nesting: usize,
    steps: usize,
}

#[derive(Clone, Copy)]
enum At<'t> {
    Nothing,
    Node(&'t Node),
    Pipeline(&'t Pipeline),
    Command(&'t Command),
    Operand(&'t Operand),
}

/// Why a walk did not go on to its end.
enum Stop {
    Break,
    Continue,
    Failed(TemplateError),
}

type Run<T> = Result<T, Stop>;

/// The arguments that stand after a field or function, and the value piped into it.
struct Arguments<'t> {
    operands: &'t [Operand],
    piped: Option<Value>,
}

impl Arguments<'_> {
    const NONE: Arguments<'static> = Arguments {
        operands: &[],
        piped: None,
    };

    fn is_empty(&self) -> bool {
        self.operands.is_empty() && self.piped.is_none()
    }

    fn len(&self) -> usize {
        self.operands.len() + usize::from(self.piped.is_some())
    }
}

impl<'t> State<'t, '_> {
    fn fail<T>(&self, message: impl std::fmt::Display) -> Run<T> {
        let name = &self.template.name;
        let (position, context) = match self.at {
            At::Nothing => {
                let text = format!("template: {name}: {message}");
                return Err(Stop::Failed(TemplateError::Execute(text)));
            }
            At::Node(node) => (node.position, node.to_string()),
            At::Pipeline(pipeline) => (pipeline.position, pipeline.to_string()),
            At::Command(command) => (command.position, command.to_string()),
            At::Operand(operand) => (operand.position, operand.to_string()),
        };
        let place = self.template.source.place(position);
        let name = quoted(name);
        let text = format!("template: {place}: executing {name} at <{context}>: {message}");
        Err(Stop::Failed(TemplateError::Execute(text)))
    }

    fn step(&mut self) -> Run<()> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return self.fail(format!("the template takes more than {MAX_STEPS} steps"));
        }
        Ok(())
    }

    fn nested<T>(&mut self, run: impl FnOnce(&mut Self) -> Run<T>) -> Run<T> {
        if self.nesting >= MAX_NESTING {
            return self.fail(format!("exceeded maximum nesting depth ({MAX_NESTING})"));
        }
        self.nesting += 1;
        let result = run(self);
        self.nesting -= 1;
        result
    }

    /// Runs with a scope of its own: variables declared inside end with it.
    fn scoped<T>(&mut self, run: impl FnOnce(&mut Self) -> Run<T>) -> Run<T> {
        let known = self.variables.len();
        let result = self.nested(run);
        self.variables.truncate(known);
        result
    }

    fn write(&mut self, text: &str) -> Run<()> {
        match self.out.push_str(text) {
            Ok(()) => Ok(()),
            Err(error) => self.fail(String::from(error)),
        }
    }

    fn walk_list(&mut self, dot: &Value, list: &'t NodeList) -> Run<()> {
        list.nodes.iter().try_for_each(|node| self.walk(dot, node))
    }

    fn walk(&mut self, dot: &Value, node: &'t Node) -> Run<()> {
        self.at = At::Node(node);
        self.step()?;
        match &node.kind {
            NodeKind::Text(text) => self.write(text),
            NodeKind::Action(pipeline) => {
                let value = self.pipeline(dot, pipeline)?;
                if pipeline.variables.is_empty() {
                    self.at = At::Node(node);
                    self.print(&value)?;
                }
                Ok(())
            }
            NodeKind::If(branch) => self.scoped(|state| state.walk_if(dot, branch)),
            NodeKind::With(branch) => self.scoped(|state| state.walk_with(dot, branch)),
            NodeKind::Range(branch) => self.scoped(|state| match state.walk_range(dot, branch) {
                Err(Stop::Break) => Ok(()),
                result => result,
            }),
            NodeKind::Template { name, argument } => self.call_template(dot, name, argument),
            NodeKind::Break => Err(Stop::Break),
            NodeKind::Continue => Err(Stop::Continue),
        }
    }

    fn print(&mut self, value: &Value) -> Run<()> {
        let printed = match value {
            Value::Nil => self.out.push_str("<no value>"),
            value => value.print(&mut self.out),
        };
        match printed {
            Ok(()) => Ok(()),
            Err(error) => self.fail(String::from(error)),
        }
    }

    fn walk_if(&mut self, dot: &Value, branch: &'t Branch) -> Run<()> {
        let value = self.pipeline(dot, &branch.pipeline)?;
        match &branch.else_list {
            _ if value.is_true() => self.walk_list(dot, &branch.list),
            Some(list) => self.walk_list(dot, list),
            None => Ok(()),
        }
    }

    fn walk_with(&mut self, dot: &Value, branch: &'t Branch) -> Run<()> {
        let value = self.pipeline(dot, &branch.pipeline)?;
        match &branch.else_list {
            _ if value.is_true() => self.walk_list(&value, &branch.list),
            Some(list) => self.walk_list(dot, list),
            None => Ok(()),
        }
    }

    fn walk_range(&mut self, dot: &Value, branch: &'t Branch) -> Run<()> {
        let value = self.pipeline(dot, &branch.pipeline)?;
        let two_variables = branch.pipeline.variables.len() > 1;
        let mut ran = false;
        match &value {
            Value::Int(_) if two_variables => {
                let text = format!("can't use {value} to iterate over more than one variable");
                return self.fail(text);
            }
            Value::Int(count) => {
                for at in 0..*count {
                    ran = true;
                    self.iterate(branch, Value::Nil, &Value::Int(at))?;
                }
            }
            Value::List(list) => {
                for (at, item) in (0i64..).zip(&list.items) {
                    ran = true;
                    self.iterate(branch, Value::Int(at), item)?;
                }
            }
            Value::Map(map) => {
                for (key, item) in &map.entries {
                    ran = true;
                    self.iterate(branch, Value::String(key.clone()), item)?;
                }
            }
            Value::Nil => {}
            other => return self.fail(format!("range can't iterate over {other}")),
        }
        match &branch.else_list {
            Some(list) if !ran => self.walk_list(dot, list),
            _ => Ok(()),
        }
    }

    fn iterate(&mut self, branch: &'t Branch, index: Value, item: &Value) -> Run<()> {
        self.step()?;
        self.set_range_variables(&branch.pipeline, index, item)?;
        let known = self.variables.len();
        let result = self.walk_list(item, &branch.list);
        self.variables.truncate(known);
        match result {
            Err(Stop::Continue) => Ok(()),
            result => result,
        }
    }

    /// With two variables the index comes first; with one it is the element.
    fn set_range_variables(
        &mut self,
        pipeline: &'t Pipeline,
        index: Value,
        item: &Value,
    ) -> Run<()> {
        let (index_name, item_name) = match pipeline.variables.as_slice() {
            [] => return Ok(()),
            [item] => (None, item),
            [index, item, ..] => (Some(index), item),
        };
        if pipeline.is_assign {
            self.set_variable(item_name, item.clone())?;
            return match index_name {
                Some(name) => self.set_variable(name, index),
                None => Ok(()),
            };
        }
        // The pipeline has declared them, on top of the stack.
        let mut top = self.variables.iter_mut().rev();
        if let Some((_, slot)) = top.next() {
            *slot = item.clone();
        }
        if let (Some(_), Some((_, slot))) = (index_name, top.next()) {
            *slot = index;
        }
        Ok(())
    }

    fn call_template(
        &mut self,
        dot: &Value,
        name: &str,
        argument: &'t Option<Pipeline>,
    ) -> Run<()> {
        let Some(template) = self.set.get(name) else {
            return self.fail(format!("template {} not defined", quoted(name)));
        };
        if self.call_depth >= MAX_CALL_DEPTH {
            return self.fail(format!(
                "exceeded maximum template depth ({MAX_CALL_DEPTH})"
            ));
        }
        let data = match argument {
            Some(pipeline) => self.pipeline(dot, pipeline)?,
            None => Value::Nil,
        };
        // A called template sees no variables of its caller.
        let inside = vec![(Arc::from("$"), data.clone())];
        let variables = std::mem::replace(&mut self.variables, inside);
        let caller = std::mem::replace(&mut self.template, template);
        self.call_depth += 1;
        let result = self.nested(|state| state.walk_list(&data, &template.root));
        self.call_depth -= 1;
        self.template = caller;
        self.variables = variables;
        result
    }

    fn set_variable(&mut self, name: &str, value: Value) -> Run<()> {
        let slot = self.variables.iter_mut().rev().find(|(n, _)| **n == *name);
        match slot {
            Some((_, slot)) => {
                *slot = value;
                Ok(())
            }
            None => self.fail(format!("undefined variable: {name}")),
        }
    }

    fn variable(&self, name: &str) -> Run<Value> {
        let found = self.variables.iter().rev().find(|(n, _)| **n == *name);
        match found {
            Some((_, value)) => Ok(value.clone()),
            None => self.fail(format!("undefined variable: {name}")),
        }
    }

    fn pipeline(&mut self, dot: &Value, pipeline: &'t Pipeline) -> Run<Value> {
        self.at = At::Pipeline(pipeline);
        let mut piped = None;
        for command in &pipeline.commands {
            piped = Some(self.command(dot, command, piped)?);
        }
        let value = piped.unwrap_or(Value::Nil);
        for name in &pipeline.variables {
            if pipeline.is_assign {
                self.set_variable(name, value.clone())?;
            } else {
                self.variables.push((name.clone(), value.clone()));
            }
        }
        Ok(value)
    }

    fn command(&mut self, dot: &Value, command: &'t Command, piped: Option<Value>) -> Run<Value> {
        self.step()?;
        let Some((first, operands)) = command.operands.split_first() else {
            return Ok(Value::Nil);
        };
        let arguments = Arguments { operands, piped };
        match &first.kind {
            OperandKind::Field(_) | OperandKind::Chain { .. } => self.fields(dot, first, arguments),
            OperandKind::Variable { fields, .. } if !fields.is_empty() => {
                self.fields(dot, first, arguments)
            }
            OperandKind::Function(name) => {
                self.at = At::Operand(first);
                self.function(dot, name, At::Command(command), arguments)
            }
            _ => {
                if !matches!(first.kind, OperandKind::Pipeline(_)) {
                    self.at = At::Operand(first);
                }
                if !arguments.is_empty() {
                    return self.fail(format!("can't give argument to non-function {first}"));
                }
                if matches!(first.kind, OperandKind::Nil) {
                    return self.fail("nil is not a command");
                }
                self.operand(dot, first)
            }
        }
    }

    /// The value of an operand that gets no arguments.
    fn operand(&mut self, dot: &Value, operand: &'t Operand) -> Run<Value> {
        self.at = At::Operand(operand);
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Value::Nil),
            OperandKind::Bool(value) => Ok(Value::Bool(*value)),
            OperandKind::String { text, .. } => Ok(Value::String(text.clone())),
            OperandKind::Number(number) => match (number.int, number.float) {
                (_, Some(float)) if number.is_written_as_float() => Ok(Value::Float(float)),
                (Some(int), _) => Ok(Value::Int(int)),
                _ => self.fail(format!("{} overflows int", number.source)),
            },
            OperandKind::Variable { name, fields } if fields.is_empty() => self.variable(name),
            OperandKind::Field(_) | OperandKind::Variable { .. } | OperandKind::Chain { .. } => {
                self.fields(dot, operand, Arguments::NONE)
            }
            OperandKind::Function(name) => {
                self.function(dot, name, At::Operand(operand), Arguments::NONE)
            }
            OperandKind::Pipeline(pipeline) => self.nested(|state| state.pipeline(dot, pipeline)),
        }
    }

    /// `.a.b`, `$x.a.b`, `(…).a.b`; the last name may be a method, which gets the arguments.
    fn fields(
        &mut self,
        dot: &Value,
        operand: &'t Operand,
        arguments: Arguments<'t>,
    ) -> Run<Value> {
        self.at = At::Operand(operand);
        let (mut receiver, fields) = match &operand.kind {
            OperandKind::Field(fields) => (dot.clone(), fields),
            OperandKind::Variable { name, fields } => (self.variable(name)?, fields),
            OperandKind::Chain { base, fields } => {
                if matches!(base.kind, OperandKind::Nil) {
                    let text = format!("indirection through explicit nil in {operand}");
                    return self.fail(text);
                }
                (self.operand(dot, base)?, fields)
            }
            _ => return self.operand(dot, operand),
        };
        let Some((last, path)) = fields.split_last() else {
            return Ok(receiver);
        };
        // No value at all has no fields either, and that is fine.
        if matches!(receiver, Value::Nil) {
            return Ok(Value::Nil);
        }
        for name in path {
            receiver = self.field(dot, operand, name, &receiver, Arguments::NONE)?;
        }
        self.field(dot, operand, last, &receiver, arguments)
    }

    fn field(
        &mut self,
        dot: &Value,
        operand: &'t Operand,
        name: &str,
        receiver: &Value,
        arguments: Arguments<'t>,
    ) -> Run<Value> {
        if matches!(receiver, Value::Nil) {
            return self.fail(format!("nil pointer evaluating interface {{}}.{name}"));
        }
        let has_arguments = !arguments.is_empty();
        if receiver.has_methods() {
            let mut values = Vec::with_capacity(arguments.len());
            for argument in arguments.operands {
                values.push(self.argument(dot, Param::Any, argument)?);
            }
            values.extend(arguments.piped);
            self.at = At::Operand(operand);
            if let Some(result) = receiver.call_method(name, &values) {
                return match result {
                    Ok(value) => Ok(value),
                    Err(error) => self.fail(format!("error calling {name}: {error}")),
                };
            }
        }
        match receiver {
            Value::Map(_) if has_arguments => {
                self.fail(format!("{name} is not a method but has arguments"))
            }
            Value::Map(map) => Ok(map.entries.get(name).unwrap_or(&map.missing).clone()),
            Value::Struct(structure) => {
                let field = structure.fields.iter().find(|(n, _)| *n == name);
                match field {
                    Some(_) if has_arguments => self.fail(format!(
                        "{name} has arguments but cannot be invoked as function"
                    )),
                    Some((_, value)) => Ok(value.clone()),
                    None => self.no_field(name, receiver),
                }
            }
            _ => self.no_field(name, receiver),
        }
    }

    fn no_field(&self, name: &str, receiver: &Value) -> Run<Value> {
        let type_name = receiver.type_name();
        self.fail(format!("can't evaluate field {name} in type {type_name}"))
    }

    /// Calls a function; `whole` is what an error of the function itself is shown at.
    fn function(
        &mut self,
        dot: &Value,
        name: &str,
        whole: At<'t>,
        arguments: Arguments<'t>,
    ) -> Run<Value> {
        self.step()?;
        let functions = self.functions;
        if let Some(function) = functions.get(name) {
            let Function {
                params,
                variadic,
                call,
            } = function;
            let values = self.arguments(dot, name, params, *variadic, arguments)?;
            return self.finish_call(name, whole, call(&values));
        }
        if name == "and" || name == "or" {
            return self.and_or(dot, name, arguments);
        }
        let Some(builtin) = builtins::find(name) else {
            return self.fail(format!("{} is not a defined function", quoted(name)));
        };
        let values = self.arguments(dot, name, builtin.params, builtin.variadic, arguments)?;
        self.finish_call(name, whole, (builtin.call)(&values))
    }

    fn finish_call(
        &mut self,
        name: &str,
        whole: At<'t>,
        result: Result<Value, String>,
    ) -> Run<Value> {
        let checked = result.and_then(|value| match &value {
            Value::String(text) if text.len() > MAX_OUTPUT_BYTES => Err(TooLong {
                limit_bytes: MAX_OUTPUT_BYTES,
            }
            .into()),
            value if value.depth() > crate::value::MAX_VALUE_DEPTH => Err(format!(
                "lists and maps are nested deeper than {}",
                crate::value::MAX_VALUE_DEPTH
            )),
            _ => Ok(value),
        });
        match checked {
            Ok(value) => Ok(value),
            Err(error) => {
                self.at = whole;
                self.fail(format!("error calling {name}: {error}"))
            }
        }
    }

    /// Arguments are evaluated only until the result is known.
    fn and_or(&mut self, dot: &Value, name: &str, arguments: Arguments<'t>) -> Run<Value> {
        if arguments.is_empty() {
            return self.fail(format!(
                "wrong number of args for {name}: want at least 1 got 0"
            ));
        }
        let mut value = Value::Nil;
        for operand in arguments.operands {
            value = self.argument(dot, Param::Any, operand)?;
            if value.is_true() == (name == "or") {
                return Ok(value);
            }
        }
        Ok(arguments.piped.unwrap_or(value))
    }

    fn arguments(
        &mut self,
        dot: &Value,
        name: &str,
        params: &[Param],
        variadic: Option<Param>,
        arguments: Arguments<'t>,
    ) -> Run<Vec<Value>> {
        let (want, got) = (params.len(), arguments.len());
        if variadic.is_some() && got < want {
            let given = arguments.operands.len();
            return self.fail(format!(
                "wrong number of args for {name}: want at least {want} got {given}"
            ));
        }
        if variadic.is_none() && got != want {
            return self.fail(format!(
                "wrong number of args for {name}: want {want} got {got}"
            ));
        }
        let mut wanted = params
            .iter()
            .copied()
            .chain(std::iter::repeat(variadic.unwrap_or(Param::Any)));
        let mut values = Vec::with_capacity(got);
        for (operand, param) in arguments.operands.iter().zip(wanted.by_ref()) {
            values.push(self.argument(dot, param, operand)?);
        }
        if let Some(value) = arguments.piped {
            let param = params.get(values.len()).copied().or(variadic);
            self.check(param.unwrap_or(Param::Any), &value)?;
            values.push(value);
        }
        Ok(values)
    }

    fn check(&self, param: Param, value: &Value) -> Run<()> {
        match param.check(value) {
            Ok(()) => Ok(()),
            Err(message) => self.fail(message),
        }
    }

    fn argument(&mut self, dot: &Value, param: Param, operand: &'t Operand) -> Run<Value> {
        self.at = At::Operand(operand);
        match (&operand.kind, param) {
            (OperandKind::Nil, param) if param.takes_nil() => Ok(Value::Nil),
            (OperandKind::Nil, param) => {
                self.fail(format!("cannot assign nil to {}", param.type_name()))
            }
            (
                OperandKind::Bool(_) | OperandKind::String { .. } | OperandKind::Number(_),
                Param::Bool | Param::String | Param::Int | Param::Float | Param::Type(_),
            ) => self.literal(param, operand),
            _ => {
                let value = self.operand(dot, operand)?;
                if matches!(value, Value::Nil) && !param.takes_nil() && is_field(operand) {
                    let wanted = param.type_name();
                    return self.fail(format!(
                        "wrong type for value; expected {wanted}; got interface {{}}"
                    ));
                }
                self.check(param, &value)?;
                Ok(value)
            }
        }
    }

    /// A literal where a certain type is wanted.
    fn literal(&self, param: Param, operand: &Operand) -> Run<Value> {
        let wanted = match (param, &operand.kind) {
            (Param::Bool, OperandKind::Bool(value)) => return Ok(Value::Bool(*value)),
            (Param::String, OperandKind::String { text, .. }) => {
                return Ok(Value::String(text.clone()));
            }
            (Param::Int, OperandKind::Number(number)) if number.int.is_some() => {
                return Ok(number.int.map_or(Value::Nil, Value::Int));
            }
            (Param::Float, OperandKind::Number(number)) if number.float.is_some() => {
                return Ok(number.float.map_or(Value::Nil, Value::Float));
            }
            (Param::Bool, _) => "bool",
            (Param::String, _) => "string",
            (Param::Int, _) => "integer",
            (Param::Float, _) => "float",
            (param, _) => {
                let type_name = param.type_name();
                return self.fail(format!(
                    "can't handle {operand} for arg of type {type_name}"
                ));
            }
        };
        self.fail(format!("expected {wanted}; found {operand}"))
    }
}

/// Nil in a field has the type of the field.
fn is_field(operand: &Operand) -> bool {
    match &operand.kind {
        OperandKind::Field(_) | OperandKind::Chain { .. } => true,
        OperandKind::Variable { fields, .. } => !fields.is_empty(),
        _ => false,
    }
}
