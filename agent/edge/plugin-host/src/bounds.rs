//! How large a plugin may be, judged before it is compiled: compiling takes time and memory by the
//! size of the code, and cannot be interrupted.
//!
//! Keeps true: what passes is compiled within some minutes at the very worst, and within seconds if
//! nobody means harm. What is wrong in any other way is not judged here.

use wasmparser::{FunctionBody, Parser, Payload};

/// Of all functions together, long ones counted by their weight. Python's interpreter has 10 MiB.
const MAX_CODE_BYTES: u64 = 32 << 20;

/// Of one function. The longest in Python's interpreter has 417 KiB.
const MAX_FUNCTION_BYTES: u64 = 512 << 10;

/// A function of several times this length takes as many times longer to compile than as many
/// functions of this length.
const LONG_FUNCTION_BYTES: u64 = 64 << 10;

/// All modules together.
const MAX_FUNCTIONS: u64 = 200_000;

const MAX_MODULES: u64 = 200;

/// Says what is too large, if something is.
pub(crate) fn check(component: &[u8]) -> Result<(), String> {
    let (mut code_bytes, mut functions, mut modules) = (0u64, 0u64, 0u64);
    for payload in Parser::new(0).parse_all(component) {
        // What cannot be read is told by whoever compiles it.
        let Ok(payload) = payload else { break };
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                modules += 1;
                limit("modules", modules, MAX_MODULES)?;
            }
            Payload::CodeSectionEntry(body) => {
                let bytes = {
                    let range = body.range();
                    range.end.saturating_sub(range.start)
                };
                // Some few bytes may declare many local variables, each of which takes its time.
                let weight = bytes + locals(&body);
                code_bytes += weight * (weight / LONG_FUNCTION_BYTES).max(1);
                functions += 1;
                limit("bytes in one function", bytes, MAX_FUNCTION_BYTES)?;
                limit("weighted bytes of code", code_bytes, MAX_CODE_BYTES)?;
                limit("functions", functions, MAX_FUNCTIONS)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn locals(body: &FunctionBody<'_>) -> u64 {
    let Ok(groups) = body.get_locals_reader() else {
        return 0;
    };
    let counts = groups.into_iter().map_while(Result::ok);
    counts.map(|(count, _)| u64::from(count)).sum()
}

fn limit(what: &str, count: u64, limit: u64) -> Result<(), String> {
    match count <= limit {
        true => Ok(()),
        false => Err(format!(
            "it is too large to be compiled: {count} {what}, and at most {limit} are taken"
        )),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A module of so many functions that do nothing, each with 50,000 local variables.
    pub(crate) fn many_locals(functions: usize) -> Vec<u8> {
        fn leb128(mut value: usize) -> Vec<u8> {
            let mut bytes = Vec::new();
            while value >= 0x80 {
                bytes.push(value as u8 | 0x80);
                value >>= 7;
            }
            bytes.push(value as u8);
            bytes
        }
        let section = |id: u8, count: usize, content: Vec<u8>| {
            let content = [leb128(count), content].concat();
            [vec![id], leb128(content.len()), content].concat()
        };
        const I32: u8 = 0x7f;
        const END: u8 = 0x0b;
        let body = [vec![1], leb128(50_000), vec![I32, END]].concat();
        let body = [leb128(body.len()), body].concat();
        [
            b"\0asm\x01\0\0\0".to_vec(),
            section(1, 1, vec![0x60, 0, 0]),
            section(3, functions, vec![0; functions]),
            section(10, functions, body.repeat(functions)),
        ]
        .concat()
    }

    #[test]
    fn what_is_too_large_is_named() {
        let long = format!("(module (func {}))", "nop ".repeat(600 << 10));
        let many = format!("(module {})", "(func)".repeat(200_001));
        let several = format!(
            "(module {})",
            format!("(func {})", "nop ".repeat(500 << 10)).repeat(10)
        );
        let nested = format!("(component {})", "(core module)".repeat(201));
        for (text, expected) in [
            ("(module (func nop))", ""),
            (long.as_str(), "bytes in one function"),
            (many.as_str(), "200001 functions"),
            (several.as_str(), "weighted bytes of code"),
            (nested.as_str(), "201 modules"),
        ] {
            let said = check(&wat::parse_str(text).unwrap())
                .err()
                .unwrap_or_default();
            assert!(said.contains(expected), "{said}");
            assert_eq!(said.is_empty(), expected.is_empty(), "{said}");
        }
        assert_eq!(check(&many_locals(100)), Ok(()));
        let said = check(&many_locals(700)).unwrap_err();
        assert!(said.contains("weighted bytes of code"), "{said}");
        assert_eq!(check(b"\0asm\x01\0\0\0 what is this"), Ok(()));
    }
}
