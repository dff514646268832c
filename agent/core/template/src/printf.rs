//! `printf`, `print` and `println` with the meaning of Go's fmt package.
//!
//! Not taken over: Go-syntax output (`%#v`, printed as `%v` with strings quoted), hexadecimal and
//! binary floats, `%p`.

use narthex_model::labels::quoted;
use narthex_model::number;

use crate::value::{BoundedText, TooLong, Value};

/// Widths and precisions above this are refused, as in Go.
const MAX_WIDTH: usize = 1_000_000;
/// No double has more digits after the point than this.
const MAX_FRACTION_DIGITS: usize = 1100;

type Written = Result<(), TooLong>;

/// `format` with its verbs filled in. What is wrong with the format stands in the text, as
/// `%!d(string=x)`; only a text that is too long fails.
pub(crate) fn sprintf(format: &str, args: &[Value], limit_bytes: usize) -> Result<String, TooLong> {
    let mut printer = Printer {
        out: BoundedText::new(limit_bytes),
        args,
        next_arg: 0,
        reordered: false,
        rest: format,
    };
    printer.run()?;
    Ok(printer.out.into_string())
}

/// The values one after the other, with blanks between those of which neither is a string.
pub(crate) fn sprint(args: &[Value], out: &mut BoundedText) -> Written {
    let mut previous_is_string = true;
    for arg in args {
        let is_string = matches!(arg, Value::String(_));
        if !is_string && !previous_is_string {
            out.push_str(" ")?;
        }
        arg.print(out)?;
        previous_is_string = is_string;
    }
    Ok(())
}

/// The values with blanks between them and a line break after them.
pub(crate) fn sprintln(args: &[Value], out: &mut BoundedText) -> Written {
    for (at, arg) in args.iter().enumerate() {
        if at > 0 {
            out.push_str(" ")?;
        }
        arg.print(out)?;
    }
    out.push_str("\n")
}

#[derive(Clone, Copy, Default)]
struct Flags {
    sharp: bool,
    zero: bool,
    plus: bool,
    minus: bool,
    space: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

struct Printer<'a> {
    out: BoundedText,
    args: &'a [Value],
    next_arg: usize,
    /// An argument was named by its number: no complaint about unused ones.
    reordered: bool,
    rest: &'a str,
}

impl<'a> Printer<'a> {
    fn run(&mut self) -> Written {
        while let Some(at) = self.rest.find('%') {
            let (before, after) = self.rest.split_at(at);
            self.out.push_str(before)?;
            self.rest = &after[1..];
            self.directive()?;
        }
        self.out.push_str(self.rest)?;
        self.complain_about_unused()
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn accept(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// What follows a percent sign.
    fn directive(&mut self) -> Written {
        let mut flags = self.flags();
        let mut good_index = true;
        let mut after_index = self.arg_index(&mut good_index);
        if self.accept('*') {
            self.width_from_argument(&mut flags)?;
            after_index = false;
        } else {
            flags.width = self.number();
            good_index &= !(after_index && flags.width.is_some());
        }
        let has_precision = self.rest.len() > 1 && self.accept('.');
        if has_precision {
            good_index &= !after_index;
            after_index = self.arg_index(&mut good_index);
            if self.accept('*') {
                self.precision_from_argument(&mut flags)?;
                after_index = false;
            } else {
                flags.precision = Some(self.number().unwrap_or(0));
            }
        }
        if !after_index {
            self.arg_index(&mut good_index);
        }
        let Some(verb) = self.peek() else {
            return self.out.push_str("%!(NOVERB)");
        };
        self.rest = &self.rest[verb.len_utf8()..];
        self.verb(verb, flags, good_index)
    }

    fn verb(&mut self, verb: char, flags: Flags, good_index: bool) -> Written {
        if verb == '%' {
            return self.out.push_str("%");
        }
        if !good_index {
            return self.out.push_str(&format!("%!{verb}(BADINDEX)"));
        }
        let Some(arg) = self.args.get(self.next_arg) else {
            return self.out.push_str(&format!("%!{verb}(MISSING)"));
        };
        self.next_arg += 1;
        print_value(&mut self.out, arg, verb, flags)
    }

    fn flags(&mut self) -> Flags {
        let mut flags = Flags::default();
        loop {
            match self.peek() {
                Some('#') => flags.sharp = true,
                Some('0') => flags.zero = true,
                Some('+') => flags.plus = true,
                Some('-') => flags.minus = true,
                Some(' ') => flags.space = true,
                _ => return flags,
            }
            self.rest = &self.rest[1..];
        }
    }

    /// `[n]`: which argument is next. Whether there was one that could be read.
    fn arg_index(&mut self, good: &mut bool) -> bool {
        if self.peek() != Some('[') {
            return false;
        }
        self.reordered = true;
        let Some(end) = self.rest.find(']') else {
            self.rest = &self.rest[1..];
            *good = false;
            return false;
        };
        let number = self.rest[1..end].parse::<usize>();
        self.rest = &self.rest[end + 1..];
        match number {
            Ok(n) if (1..=self.args.len()).contains(&n) => {
                self.next_arg = n - 1;
                true
            }
            other => {
                *good = false;
                other.is_ok()
            }
        }
    }

    fn number(&mut self) -> Option<usize> {
        let rest = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = &self.rest[..self.rest.len() - rest.len()];
        self.rest = rest;
        digits.parse().ok().filter(|n| *n <= MAX_WIDTH)
    }

    fn int_argument(&mut self) -> Option<i64> {
        let arg = self.args.get(self.next_arg)?;
        self.next_arg += 1;
        match arg {
            Value::Int(n) if n.unsigned_abs() <= MAX_WIDTH as u64 => Some(*n),
            _ => None,
        }
    }

    fn width_from_argument(&mut self, flags: &mut Flags) -> Written {
        let Some(width) = self.int_argument() else {
            return self.out.push_str("%!(BADWIDTH)");
        };
        if width < 0 {
            flags.minus = true;
            flags.zero = false;
        }
        flags.width = usize::try_from(width.unsigned_abs()).ok();
        Ok(())
    }

    fn precision_from_argument(&mut self, flags: &mut Flags) -> Written {
        flags.precision = self.int_argument().and_then(|p| usize::try_from(p).ok());
        match flags.precision {
            Some(_) => Ok(()),
            None => self.out.push_str("%!(BADPREC)"),
        }
    }

    fn complain_about_unused(&mut self) -> Written {
        if self.reordered || self.next_arg >= self.args.len() {
            return Ok(());
        }
        self.out.push_str("%!(EXTRA ")?;
        for (at, arg) in self.args[self.next_arg..].iter().enumerate() {
            if at > 0 {
                self.out.push_str(", ")?;
            }
            if !matches!(arg, Value::Nil) {
                self.out.push_str(arg.type_name())?;
                self.out.push_str("=")?;
            }
            arg.print(&mut self.out)?;
        }
        self.out.push_str(")")
    }
}

fn print_value(out: &mut BoundedText, value: &Value, verb: char, flags: Flags) -> Written {
    if verb == 'T' {
        let name = match value {
            Value::Nil => "<nil>",
            value => value.type_name(),
        };
        return pad(out, name, flags);
    }
    // Values with a text of their own are texts to the verbs for texts.
    let has_own_text = matches!(value, Value::Time(_) | Value::DurationNs(_))
        || value.call_method("String", &[]).is_some();
    if has_own_text && matches!(verb, 'v' | 's' | 'x' | 'X' | 'q') {
        let mut text = BoundedText::new(crate::MAX_OUTPUT_BYTES);
        value.print(&mut text)?;
        return print_text(out, text.as_str(), value, verb, flags);
    }
    match value {
        Value::Nil if verb == 'v' => pad(out, "<nil>", flags),
        Value::Bool(truth) if matches!(verb, 't' | 'v') => {
            pad(out, if *truth { "true" } else { "false" }, flags)
        }
        Value::Int(n) | Value::DurationNs(n) => print_int(out, *n, value, verb, flags),
        Value::Float(n) => print_float(out, *n, value, verb, flags),
        Value::String(text) => print_text(out, text, value, verb, flags),
        Value::List(list) => print_items(out, "[", "]", &list.items, |item, out| {
            print_value(out, item, verb, flags)
        }),
        Value::Map(map) => print_items(out, "map[", "]", &map.entries, |(key, item), out| {
            print_value(out, &Value::String(key.clone()), verb, flags)?;
            out.push_str(":")?;
            print_value(out, item, verb, flags)
        }),
        Value::Struct(structure) => {
            print_items(out, "{", "}", &structure.fields, |(name, item), out| {
                if flags.plus && verb == 'v' {
                    out.push_str(name)?;
                    out.push_str(":")?;
                }
                print_value(out, item, verb, flags)
            })
        }
        value => bad_verb(out, value, verb, flags),
    }
}

fn print_items<T>(
    out: &mut BoundedText,
    open: &str,
    close: &str,
    items: impl IntoIterator<Item = T>,
    mut print: impl FnMut(T, &mut BoundedText) -> Written,
) -> Written {
    out.push_str(open)?;
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push_str(" ")?;
        }
        print(item, out)?;
    }
    out.push_str(close)
}

/// `%!d(string=x)`: the value is printed with the flags that were meant for the verb.
fn bad_verb(out: &mut BoundedText, value: &Value, verb: char, flags: Flags) -> Written {
    out.push_str(&format!("%!{verb}("))?;
    if matches!(value, Value::Nil) {
        out.push_str("<nil>")?;
    } else {
        out.push_str(value.type_name())?;
        out.push_str("=")?;
        print_value(out, value, 'v', flags)?;
    }
    out.push_str(")")
}

/// Fills up to the width. Zeros are filled in on the left only.
fn pad(out: &mut BoundedText, text: &str, flags: Flags) -> Written {
    let missing = flags
        .width
        .unwrap_or(0)
        .saturating_sub(text.chars().count());
    if flags.minus {
        out.push_str(text)?;
        return push_repeated(out, " ", missing);
    }
    push_repeated(out, if flags.zero { "0" } else { " " }, missing)?;
    out.push_str(text)
}

fn push_repeated(out: &mut BoundedText, text: &str, times: usize) -> Written {
    if times > 0 {
        out.push_str(&text.repeat(times))?;
    }
    Ok(())
}

/// Fills up to the width, zeros between sign and digits.
fn pad_number(out: &mut BoundedText, text: &str, flags: Flags) -> Written {
    let sign_bytes = usize::from(text.starts_with(['+', '-', ' ']));
    if !flags.zero || flags.minus || sign_bytes == 0 {
        return pad(out, text, flags);
    }
    let (sign, digits) = text.split_at(sign_bytes);
    out.push_str(sign)?;
    let flags = Flags {
        width: flags.width.map(|width| width.saturating_sub(1)),
        ..flags
    };
    pad(out, digits, flags)
}

fn print_text(
    out: &mut BoundedText,
    text: &str,
    value: &Value,
    verb: char,
    flags: Flags,
) -> Written {
    let cut: String;
    let cut = match flags.precision {
        Some(precision) if !matches!(verb, 'x' | 'X') => {
            cut = text.chars().take(precision).collect();
            cut.as_str()
        }
        _ => text,
    };
    match verb {
        'v' if flags.sharp => pad(out, &quoted(cut), flags),
        's' | 'v' => pad(out, cut, flags),
        'q' if flags.sharp && !cut.contains(['`', '\n', '\r']) => {
            pad(out, &format!("`{cut}`"), flags)
        }
        'q' => pad(out, &quoted(cut), flags),
        'x' | 'X' => pad(out, &hexadecimal_bytes(text, verb, flags), flags),
        _ => bad_verb(out, value, verb, flags),
    }
}

fn hexadecimal_bytes(text: &str, verb: char, flags: Flags) -> String {
    let shown = flags.precision.unwrap_or(usize::MAX);
    let bytes = text.bytes().take(shown).map(|byte| match verb {
        'x' => format!("{byte:02x}"),
        _ => format!("{byte:02X}"),
    });
    let prefix = if flags.sharp {
        format!("0{verb}")
    } else {
        String::new()
    };
    if flags.space {
        let parts: Vec<String> = bytes.map(|byte| format!("{prefix}{byte}")).collect();
        return parts.join(" ");
    }
    let digits: String = bytes.collect();
    if digits.is_empty() {
        digits
    } else {
        prefix + &digits
    }
}

fn print_int(out: &mut BoundedText, n: i64, value: &Value, verb: char, flags: Flags) -> Written {
    let magnitude = n.unsigned_abs();
    let digits = match verb {
        'v' | 'd' => magnitude.to_string(),
        'b' => format!("{magnitude:b}"),
        'o' | 'O' => format!("{magnitude:o}"),
        'x' => format!("{magnitude:x}"),
        'X' => format!("{magnitude:X}"),
        'c' => return pad(out, &char_of(n).to_string(), flags),
        'q' => return pad(out, &quoted_char(char_of(n)), flags),
        'U' => return pad(out, &format!("U+{n:04X}"), flags),
        _ => return bad_verb(out, value, verb, flags),
    };
    // A precision is the least number of digits, and zero with none of them is nothing.
    if flags.precision == Some(0) && n == 0 {
        return push_repeated(out, " ", flags.width.unwrap_or(0));
    }
    let mut text = String::new();
    match (n < 0, flags.plus, flags.space) {
        (true, ..) => text.push('-'),
        (_, true, _) if verb != 'v' => text.push('+'),
        (_, _, true) => text.push(' '),
        _ => {}
    }
    match (verb, flags.sharp) {
        ('O', _) => text.push_str("0o"),
        ('x', true) => text.push_str("0x"),
        ('X', true) => text.push_str("0X"),
        ('b', true) => text.push_str("0b"),
        ('o', true) if !digits.starts_with('0') => text.push('0'),
        _ => {}
    }
    let prefix_chars = text.len();
    let wanted_digits = match (flags.precision, flags.width) {
        (Some(precision), _) => precision,
        (None, Some(width)) if flags.zero && !flags.minus => width.saturating_sub(
            // Go counts the sign into the width, the base's prefix not.
            usize::from(text.starts_with(['-', '+', ' '])).min(prefix_chars),
        ),
        _ => 0,
    };
    text.push_str(&"0".repeat(wanted_digits.saturating_sub(digits.len())));
    text.push_str(&digits);
    let flags = Flags {
        zero: false,
        ..flags
    };
    pad(out, &text, flags)
}

fn char_of(n: i64) -> char {
    u32::try_from(n)
        .ok()
        .and_then(char::from_u32)
        .unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn quoted_char(c: char) -> String {
    match c {
        '\'' => "'\\''".to_owned(),
        '"' => "'\"'".to_owned(),
        c => {
            let quoted = quoted(&c.to_string());
            format!("'{}'", quoted.trim_matches('"'))
        }
    }
}

fn print_float(out: &mut BoundedText, n: f64, value: &Value, verb: char, flags: Flags) -> Written {
    let text = match (verb, flags.precision) {
        ('v' | 'g' | 'G', None) => number::format_general(n),
        ('v' | 'g' | 'G', Some(precision)) => format_significant(n, precision),
        ('f' | 'F', precision) => format_fixed(n, precision.unwrap_or(6)),
        ('e' | 'E', precision) => format_scientific(n, precision.unwrap_or(6)),
        _ => return bad_verb(out, value, verb, flags),
    };
    let text = match verb {
        'G' | 'E' if n.is_finite() => text.to_uppercase(),
        _ => text,
    };
    print_signed(out, n, &text, flags, verb)
}

/// `text` has a sign only if it is negative or infinite.
fn print_signed(out: &mut BoundedText, n: f64, text: &str, flags: Flags, verb: char) -> Written {
    let wants_plus = flags.plus && verb != 'v';
    let bare = text.trim_start_matches('+');
    let text = match (bare.starts_with('-'), wants_plus, flags.space) {
        (true, ..) => bare.to_owned(),
        (_, true, _) => format!("+{bare}"),
        (_, _, true) => format!(" {bare}"),
        // Infinity shows its sign without being asked.
        _ if n.is_infinite() => format!("+{bare}"),
        _ => bare.to_owned(),
    };
    let flags = Flags {
        // There are no leading zeros to what is no number.
        zero: flags.zero && n.is_finite(),
        ..flags
    };
    pad_number(out, &text, flags)
}

fn special(n: f64) -> Option<String> {
    (!n.is_finite()).then(|| number::format_plain(n))
}

/// Go's `%.<precision>f`.
pub(crate) fn format_fixed(n: f64, precision: usize) -> String {
    if let Some(text) = special(n) {
        return text;
    }
    let digits = precision.min(MAX_FRACTION_DIGITS);
    let mut text = format!("{n:.digits$}");
    text.push_str(&"0".repeat(precision - digits));
    text
}

/// Go's `%.<precision>e`.
fn format_scientific(n: f64, precision: usize) -> String {
    if let Some(text) = special(n) {
        return text;
    }
    let digits = precision.min(MAX_FRACTION_DIGITS);
    let text = format!("{n:.digits$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let zeros = "0".repeat(precision - digits);
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}{zeros}e{sign}{:02}", exponent.unsigned_abs())
}

/// Go's `%.<precision>g`: so many significant digits, trailing zeros left out.
pub(crate) fn format_significant(n: f64, precision: usize) -> String {
    if let Some(text) = special(n) {
        return text;
    }
    let precision = precision.clamp(1, MAX_FRACTION_DIGITS);
    let scientific = format_scientific(n, precision - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let wanted = i32::try_from(precision).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= wanted {
        return format!(
            "{}e{}",
            without_trailing_zeros(mantissa),
            &scientific[mantissa.len() + 1..]
        );
    }
    let decimals = usize::try_from(wanted - 1 - exponent).unwrap_or(0);
    without_trailing_zeros(&format_fixed(n, decimals)).to_owned()
}

fn without_trailing_zeros(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}
