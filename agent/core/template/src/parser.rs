//! Tokens to trees.
//!
//! One source may define several templates; the one that holds the rest is the last of the result.
//! Nesting is bounded, so that neither parsing nor running nor dropping a tree runs out of stack.

use std::sync::Arc;

use narthex_model::labels::quoted;

use crate::TemplateError;
use crate::ast::{Branch, Command, Node, NodeKind, NodeList, Operand, OperandKind, Pipeline};
use crate::lexer::{Token, TokenKind, tokenize};
use crate::literal::{parse_number, unquote};

/// How deep actions and parentheses may be nested.
const MAX_NESTING: usize = 100;

/// Parses a source; `is_function` knows the functions that may be called.
pub(crate) fn parse(
    name: &str,
    source: &str,
    is_function: &dyn Fn(&str) -> bool,
) -> Result<Vec<(Arc<str>, NodeList)>, TemplateError> {
    let mut parser = Parser {
        name,
        is_function,
        tokens: tokenize(source),
        at: 0,
        furthest: 0,
        scope: Scope::default(),
        nesting: 0,
        definitions: Vec::new(),
    };
    let root = parser.parse_root()?;
    parser.define(name.into(), root)?;
    Ok(parser.definitions)
}

type Parsed<T> = Result<T, TemplateError>;

/// What a definition does not share with those around it.
#[derive(Default)]
struct Scope {
    variables: Vec<Arc<str>>,
    range_depth: usize,
    /// The line on which the action that is being read began.
    action_line: Option<usize>,
}

struct Parser<'a> {
    name: &'a str,
    is_function: &'a dyn Fn(&str) -> bool,
    /// Never empty: the last one is the end or an error.
    tokens: Vec<Token<'a>>,
    at: usize,
    /// The furthest token that was looked at: errors name its line.
    furthest: usize,
    scope: Scope,
    nesting: usize,
    definitions: Vec<(Arc<str>, NodeList)>,
}

/// How a list of nodes ended.
enum ListEnd {
    End,
    Else,
}

/// What one action is.
enum Action {
    Node(Node),
    End,
    Else,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Control {
    If,
    With,
    Range,
}

impl Control {
    fn word(self) -> &'static str {
        match self {
            Control::If => "if",
            Control::With => "with",
            Control::Range => "range",
        }
    }
}

impl<'a> Parser<'a> {
    fn token(&mut self, index: usize) -> Token<'a> {
        let index = index.min(self.tokens.len() - 1);
        self.furthest = self.furthest.max(index);
        self.tokens[index].clone()
    }

    fn peek(&mut self) -> Token<'a> {
        self.token(self.at)
    }

    fn next(&mut self) -> Token<'a> {
        let token = self.token(self.at);
        self.at += 1;
        token
    }

    fn peek_non_space(&mut self) -> Token<'a> {
        while self.peek().kind == TokenKind::Space {
            self.at += 1;
        }
        self.peek()
    }

    fn next_non_space(&mut self) -> Token<'a> {
        self.peek_non_space();
        self.next()
    }

    fn error<T>(&self, message: impl std::fmt::Display) -> Parsed<T> {
        let line = self.tokens[self.furthest].line;
        let name = self.name;
        let text = format!("template: {name}:{line}: {message}");
        Err(TemplateError::Parse(text))
    }

    fn unexpected<T>(&self, token: &Token<'_>, context: &str) -> Parsed<T> {
        if token.kind != TokenKind::Error {
            return self.error(format!("unexpected {} in {context}", token.describe()));
        }
        let text = &token.text;
        match self.scope.action_line {
            Some(line) if line != token.line => {
                // "unclosed action in action" would be once too much.
                let place = if text.ends_with(" action") {
                    ""
                } else {
                    " in action"
                };
                let name = self.name;
                self.error(format!("{text}{place} started at {name}:{line}"))
            }
            _ => self.error(text),
        }
    }

    fn expect(&mut self, kind: TokenKind, context: &str) -> Parsed<Token<'a>> {
        let token = self.next_non_space();
        if token.kind != kind {
            return self.unexpected(&token, context);
        }
        Ok(token)
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting >= MAX_NESTING {
            return self.error("max expression depth exceeded");
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    fn define(&mut self, name: Arc<str>, list: NodeList) -> Parsed<()> {
        let known = self.definitions.iter_mut().find(|(n, _)| *n == name);
        match known {
            None => self.definitions.push((name, list)),
            Some((_, known)) if is_blank(known) => *known = list,
            Some(_) if is_blank(&list) => {}
            Some(_) => {
                let name = quoted(&name);
                return self.error(format!("template: multiple definition of template {name}"));
            }
        }
        Ok(())
    }

    fn parse_root(&mut self) -> Parsed<NodeList> {
        let mut list = NodeList::default();
        loop {
            let token = self.peek();
            if token.kind == TokenKind::Eof {
                return Ok(list);
            }
            let start = self.at;
            if token.kind == TokenKind::LeftDelimiter {
                self.at += 1;
                if self.next_non_space().kind == TokenKind::Define {
                    self.definition()?;
                    continue;
                }
                self.at = start;
            }
            match self.text_or_action()? {
                Action::Node(node) => list.nodes.push(node),
                Action::End => return self.error("unexpected {{end}}"),
                Action::Else => return self.error("unexpected {{else}}"),
            }
        }
    }

    /// `{{define "name"}} … {{end}}`; the word has been read.
    fn definition(&mut self) -> Parsed<()> {
        const CONTEXT: &str = "define clause";
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        self.expect(TokenKind::RightDelimiter, CONTEXT)?;
        self.definition_body(name, CONTEXT)
    }

    fn definition_body(&mut self, name: Arc<str>, context: &str) -> Parsed<()> {
        let outer = std::mem::take(&mut self.scope);
        let (list, end) = self.nested(Self::list)?;
        if let ListEnd::Else = end {
            return self.error(format!("unexpected {{{{else}}}} in {context}"));
        }
        self.scope = outer;
        self.define(name, list)
    }

    /// Nodes up to `{{end}}` or `{{else}}`.
    fn list(&mut self) -> Parsed<(NodeList, ListEnd)> {
        let mut list = NodeList::default();
        while self.peek_non_space().kind != TokenKind::Eof {
            match self.text_or_action()? {
                Action::Node(node) => list.nodes.push(node),
                Action::End => return Ok((list, ListEnd::End)),
                Action::Else => return Ok((list, ListEnd::Else)),
            }
        }
        self.error("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Parsed<Action> {
        let token = self.next_non_space();
        match token.kind {
            TokenKind::Text => Ok(Action::Node(Node {
                position: token.position,
                kind: NodeKind::Text(Arc::from(&*token.text)),
            })),
            TokenKind::LeftDelimiter => {
                self.scope.action_line = Some(token.line);
                let action = self.action()?;
                self.scope.action_line = None;
                Ok(action)
            }
            _ => self.unexpected(&token, "input"),
        }
    }

    /// What follows a left delimiter.
    fn action(&mut self) -> Parsed<Action> {
        let token = self.peek_non_space();
        let control = match token.kind {
            TokenKind::If => Control::If,
            TokenKind::With => Control::With,
            TokenKind::Range => Control::Range,
            _ => return self.other_action(&token),
        };
        self.at += 1;
        self.control(control).map(Action::Node)
    }

    fn other_action(&mut self, token: &Token<'a>) -> Parsed<Action> {
        if token.kind == TokenKind::End {
            self.at += 1;
            self.expect(TokenKind::RightDelimiter, "end")?;
            return Ok(Action::End);
        }
        if token.kind == TokenKind::Else {
            self.at += 1;
            return self.else_action();
        }
        let node = match token.kind {
            TokenKind::Break | TokenKind::Continue => self.loop_control(token)?,
            TokenKind::Block => self.block()?,
            TokenKind::Template => self.template_call()?,
            _ => {
                let pipeline = self.pipeline("command", TokenKind::RightDelimiter)?;
                Node {
                    position: token.position,
                    kind: NodeKind::Action(pipeline),
                }
            }
        };
        Ok(Action::Node(node))
    }

    fn loop_control(&mut self, token: &Token<'a>) -> Parsed<Node> {
        self.at += 1;
        let (word, kind) = match token.kind {
            TokenKind::Break => ("{{break}}", NodeKind::Break),
            _ => ("{{continue}}", NodeKind::Continue),
        };
        self.expect(TokenKind::RightDelimiter, word)?;
        if self.scope.range_depth == 0 {
            return self.error(format!("{word} outside {{{{range}}}}"));
        }
        Ok(Node {
            position: token.position,
            kind,
        })
    }

    /// `{{else}}`, or the `else` of `{{else if …}}`, whose second word is left.
    fn else_action(&mut self) -> Parsed<Action> {
        let next = self.peek_non_space().kind;
        if !matches!(next, TokenKind::If | TokenKind::With) {
            self.expect(TokenKind::RightDelimiter, "else")?;
        }
        Ok(Action::Else)
    }

    fn control(&mut self, control: Control) -> Parsed<Node> {
        let known_variables = self.scope.variables.len();
        let branch = self.nested(|parser| parser.branch(control))?;
        self.scope.variables.truncate(known_variables);
        Ok(Node {
            position: branch.pipeline.position,
            kind: match control {
                Control::If => NodeKind::If(branch),
                Control::With => NodeKind::With(branch),
                Control::Range => NodeKind::Range(branch),
            },
        })
    }

    fn branch(&mut self, control: Control) -> Parsed<Branch> {
        let pipeline = self.pipeline(control.word(), TokenKind::RightDelimiter)?;
        let loops = usize::from(control == Control::Range);
        self.scope.range_depth += loops;
        let (list, end) = self.list()?;
        self.scope.range_depth -= loops;
        let else_list = match end {
            ListEnd::End => None,
            ListEnd::Else => Some(self.else_list(control)?),
        };
        Ok(Branch {
            pipeline,
            list,
            else_list,
        })
    }

    fn else_list(&mut self, control: Control) -> Parsed<NodeList> {
        let chained = matches!(
            (control, self.peek().kind),
            (Control::If, TokenKind::If) | (Control::With, TokenKind::With)
        );
        if chained {
            // It takes the `{{end}}` of the whole chain.
            self.at += 1;
            let nodes = vec![self.control(control)?];
            return Ok(NodeList { nodes });
        }
        match self.list()? {
            (list, ListEnd::End) => Ok(list),
            (_, ListEnd::Else) => self.error("expected end; found {{else}}"),
        }
    }

    /// `{{block "name" pipeline}} … {{end}}`: defines and calls.
    fn block(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "block clause";
        self.at += 1;
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let argument = self.pipeline(CONTEXT, TokenKind::RightDelimiter)?;
        self.definition_body(name.clone(), CONTEXT)?;
        Ok(Node {
            position: token.position,
            kind: NodeKind::Template {
                name,
                argument: Some(argument),
            },
        })
    }

    fn template_call(&mut self) -> Parsed<Node> {
        const CONTEXT: &str = "template clause";
        self.at += 1;
        let token = self.next_non_space();
        let name = self.template_name(&token, CONTEXT)?;
        let argument = if self.peek_non_space().kind == TokenKind::RightDelimiter {
            self.at += 1;
            None
        } else {
            Some(self.pipeline(CONTEXT, TokenKind::RightDelimiter)?)
        };
        Ok(Node {
            position: token.position,
            kind: NodeKind::Template { name, argument },
        })
    }

    fn template_name(&mut self, token: &Token<'a>, context: &str) -> Parsed<Arc<str>> {
        match token.kind {
            TokenKind::String | TokenKind::RawString => self.string(token),
            _ => self.unexpected(token, context),
        }
    }

    fn string(&mut self, token: &Token<'a>) -> Parsed<Arc<str>> {
        match unquote(&token.text) {
            Some(text) => Ok(text.into()),
            None => self.error("invalid syntax"),
        }
    }

    fn pipeline(&mut self, context: &str, end: TokenKind) -> Parsed<Pipeline> {
        let mut pipeline = Pipeline {
            position: self.peek_non_space().position,
            is_assign: false,
            variables: Vec::new(),
            commands: Vec::new(),
        };
        self.declarations(&mut pipeline, context)?;
        loop {
            let token = self.peek_non_space();
            if token.kind == end {
                self.at += 1;
                self.check_pipeline(&pipeline, context)?;
                return Ok(pipeline);
            }
            if !starts_operand(token.kind) {
                return self.unexpected(&token, context);
            }
            pipeline.commands.push(self.command()?);
        }
    }

    /// `$x :=`, `$x =`, and in ranges `$i, $x :=`.
    fn declarations(&mut self, pipeline: &mut Pipeline, context: &str) -> Parsed<()> {
        while self.peek_non_space().kind == TokenKind::Variable {
            let start = self.at;
            let name: Arc<str> = Arc::from(&*self.next().text);
            let next = self.peek_non_space();
            let comma = next.kind == TokenKind::Char && next.text == ",";
            let sign = matches!(next.kind, TokenKind::Assign | TokenKind::Declare);
            if !comma && !sign {
                self.at = start;
                return Ok(());
            }
            self.at += 1;
            pipeline.variables.push(name.clone());
            self.scope.variables.push(name);
            if sign {
                pipeline.is_assign = next.kind == TokenKind::Assign;
                return Ok(());
            }
            if context != "range" || pipeline.variables.len() > 1 {
                return self.error(format!("too many declarations in {context}"));
            }
            if !matches!(
                self.peek_non_space().kind,
                TokenKind::Variable | TokenKind::RightDelimiter | TokenKind::RightParen
            ) {
                return self.error("range can only initialize variables");
            }
        }
        Ok(())
    }

    fn check_pipeline(&self, pipeline: &Pipeline, context: &str) -> Parsed<()> {
        if pipeline.commands.is_empty() {
            return self.error(format!("missing value for {context}"));
        }
        let later = pipeline.commands.iter().enumerate().skip(1);
        for (at, command) in later {
            let first = command.operands.first().map(|operand| &operand.kind);
            if matches!(
                first,
                Some(
                    OperandKind::Bool(_)
                        | OperandKind::Dot
                        | OperandKind::Nil
                        | OperandKind::Number(_)
                        | OperandKind::String { .. }
                )
            ) {
                let stage = at + 1;
                return self.error(format!("non executable command in pipeline stage {stage}"));
            }
        }
        Ok(())
    }

    /// Operands up to a `|`, which is taken, or the end, which is left.
    fn command(&mut self) -> Parsed<Command> {
        let position = self.peek_non_space().position;
        let mut operands = Vec::new();
        loop {
            self.peek_non_space();
            operands.extend(self.operand()?);
            let token = self.next();
            match token.kind {
                TokenKind::Space => {}
                TokenKind::Pipe => break,
                TokenKind::RightDelimiter | TokenKind::RightParen => {
                    self.at -= 1;
                    break;
                }
                _ => return self.unexpected(&token, "operand"),
            }
        }
        if operands.is_empty() {
            return self.error("empty command");
        }
        Ok(Command { position, operands })
    }

    /// A term with the fields that follow it; nothing if the next token starts no term.
    fn operand(&mut self) -> Parsed<Option<Operand>> {
        let Some(term) = self.term()? else {
            return Ok(None);
        };
        let position = self.peek().position;
        let mut more = Vec::new();
        while self.peek().kind == TokenKind::Field {
            more.push(field_name(&self.next()));
        }
        if more.is_empty() {
            return Ok(Some(term));
        }
        let kind = match term.kind {
            OperandKind::Field(mut fields) => {
                fields.extend(more);
                OperandKind::Field(fields)
            }
            OperandKind::Variable { name, mut fields } => {
                fields.extend(more);
                OperandKind::Variable { name, fields }
            }
            OperandKind::Bool(_)
            | OperandKind::String { .. }
            | OperandKind::Number(_)
            | OperandKind::Nil
            | OperandKind::Dot => {
                let term = quoted(&term.to_string());
                return self.error(format!("unexpected . after term {term}"));
            }
            _ => OperandKind::Chain {
                base: Box::new(term),
                fields: more,
            },
        };
        Ok(Some(Operand { position, kind }))
    }

    fn term(&mut self) -> Parsed<Option<Operand>> {
        let token = self.peek_non_space();
        if !starts_operand(token.kind) {
            return Ok(None);
        }
        self.at += 1;
        let position = token.position;
        let kind = match token.kind {
            TokenKind::LeftParen => {
                let inside = |parser: &mut Self| {
                    parser.pipeline("parenthesized pipeline", TokenKind::RightParen)
                };
                OperandKind::Pipeline(Box::new(self.nested(inside)?))
            }
            TokenKind::Identifier => self.function(&token)?,
            TokenKind::Variable => self.variable(&token)?,
            TokenKind::Field => OperandKind::Field(vec![field_name(&token)]),
            TokenKind::Dot => OperandKind::Dot,
            TokenKind::Nil => OperandKind::Nil,
            TokenKind::Bool => OperandKind::Bool(token.text == "true"),
            TokenKind::Number | TokenKind::CharConstant => match parse_number(&token.text) {
                Ok(number) => OperandKind::Number(number),
                Err(message) => return self.error(message),
            },
            _ => OperandKind::String {
                text: self.string(&token)?,
                source: Arc::from(&*token.text),
            },
        };
        Ok(Some(Operand { position, kind }))
    }

    fn function(&self, token: &Token<'a>) -> Parsed<OperandKind> {
        if !(self.is_function)(&token.text) {
            let name = quoted(&token.text);
            return self.error(format!("function {name} not defined"));
        }
        Ok(OperandKind::Function(Arc::from(&*token.text)))
    }

    fn variable(&self, token: &Token<'a>) -> Parsed<OperandKind> {
        let known = token.text == "$" || self.scope.variables.iter().any(|v| **v == *token.text);
        if !known {
            let name = quoted(&token.text);
            return self.error(format!("undefined variable {name}"));
        }
        Ok(OperandKind::Variable {
            name: Arc::from(&*token.text),
            fields: Vec::new(),
        })
    }
}

fn starts_operand(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::Bool
            | TokenKind::CharConstant
            | TokenKind::Dot
            | TokenKind::Field
            | TokenKind::Identifier
            | TokenKind::Number
            | TokenKind::Nil
            | TokenKind::RawString
            | TokenKind::String
            | TokenKind::Variable
            | TokenKind::LeftParen
    )
}

fn field_name(token: &Token<'_>) -> Arc<str> {
    Arc::from(token.text.trim_start_matches('.'))
}

/// Whether a list holds nothing but white space: such a definition gives way to another.
pub(crate) fn is_blank(list: &NodeList) -> bool {
    list.nodes.iter().all(|node| match &node.kind {
        NodeKind::Text(text) => text.trim().is_empty(),
        _ => false,
    })
}
