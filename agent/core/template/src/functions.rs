//! The functions that a template may call besides the built-in ones.

use std::collections::BTreeMap;

use crate::Value;

/// What a function wants at one place. As in Go, a literal takes the wanted type if it fits; any
/// other value must have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Param {
    Any,
    Bool,
    Int,
    Float,
    String,
    /// A value whose [`Value::type_name`] is this, or nil.
    Type(&'static str),
}

/// A function with its signature.
pub struct Function<'a> {
    pub params: &'static [Param],
    /// What all further arguments are, if there may be any.
    pub variadic: Option<Param>,
    pub call: Call<'a>,
}

/// Gets arguments that meet the signature, and gives a value or what is wrong.
pub type Call<'a> = Box<dyn Fn(&[Value]) -> Result<Value, String> + 'a>;

/// Functions by name. They may borrow what they need for the time of one expansion.
#[derive(Default)]
pub struct Functions<'a> {
    functions: BTreeMap<&'static str, Function<'a>>,
}

impl<'a> Functions<'a> {
    pub fn add(
        &mut self,
        name: &'static str,
        params: &'static [Param],
        call: impl Fn(&[Value]) -> Result<Value, String> + 'a,
    ) {
        self.insert(name, params, None, Box::new(call));
    }

    pub fn add_variadic(
        &mut self,
        name: &'static str,
        params: &'static [Param],
        variadic: Param,
        call: impl Fn(&[Value]) -> Result<Value, String> + 'a,
    ) {
        self.insert(name, params, Some(variadic), Box::new(call));
    }

    fn insert(
        &mut self,
        name: &'static str,
        params: &'static [Param],
        variadic: Option<Param>,
        call: Call<'a>,
    ) {
        let function = Function {
            params,
            variadic,
            call,
        };
        self.functions.insert(name, function);
    }

    pub fn get(&self, name: &str) -> Option<&Function<'a>> {
        self.functions.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.functions.keys().copied()
    }
}

impl Param {
    pub(crate) fn type_name(self) -> &'static str {
        match self {
            Param::Any => "interface {}",
            Param::Bool => "bool",
            Param::Int => "int",
            Param::Float => "float64",
            Param::String => "string",
            Param::Type(name) => name,
        }
    }

    pub(crate) fn takes_nil(self) -> bool {
        matches!(self, Param::Any | Param::Type(_))
    }

    /// Whether a value has the wanted type; if not, what is wrong.
    pub(crate) fn check(self, value: &Value) -> Result<(), String> {
        let fits = match (self, value) {
            (Param::Any, _) => true,
            (param, Value::Nil) if param.takes_nil() => true,
            (param, Value::Nil) => {
                return Err(format!("invalid value; expected {}", param.type_name()));
            }
            (param, value) => param.type_name() == value.type_name(),
        };
        if fits {
            return Ok(());
        }
        Err(format!(
            "wrong type for value; expected {}; got {}",
            self.type_name(),
            value.type_name()
        ))
    }
}

/// The text at an index of checked arguments; "" where there is none.
pub(crate) fn text(args: &[Value], at: usize) -> &str {
    args.get(at).and_then(Value::as_str).unwrap_or("")
}

/// The value at an index of checked arguments; nil where there is none.
pub(crate) fn value(args: &[Value], at: usize) -> &Value {
    args.get(at).unwrap_or(&Value::Nil)
}
