//! Plugins for tests, written in WebAssembly text: small enough to show just one way to misbehave,
//! and built without any toolchain. They are core modules with the component type that the SDK
//! would have put in, so they come the same way as what cargo leaves.

use std::path::Path;

use wit_component::StringEncoding;
use wit_parser::Resolve;

const WIT: &str = include_str!("../../../../../plugin-sdk/wit/plugin.wit");

/// Where the functions' results lie: all zeros, which reads as "ok" and "nothing" alike.
const ZEROS: u32 = 4096;

/// Data starts here; what is below belongs to the results.
const DATA: u32 = 8192;

/// A plugin in the making.
pub(super) struct Guest {
    world: &'static str,
    interface: &'static str,
    wit: String,
    imports: String,
    functions: String,
    describe: u32,
    collect: String,
    configure: String,
    data: Vec<(u32, Vec<u8>)>,
    next: u32,
}

impl Guest {
    pub(super) fn exporter() -> Guest {
        Guest::new("exporter", "metrics")
    }

    pub(super) fn discovery() -> Guest {
        Guest::new("discovery", "targets")
    }

    fn new(world: &'static str, interface: &'static str) -> Guest {
        Guest {
            world,
            interface,
            wit: WIT.to_owned(),
            imports: String::new(),
            functions: String::new(),
            describe: ZEROS,
            collect: format!("(i32.const {ZEROS})"),
            configure: format!("(i32.const {ZEROS})"),
            data: Vec::new(),
            next: DATA,
        }
    }

    /// What `collect`, or for a discovery `run`, does. Gives the address of its result.
    pub(super) fn collect(mut self, body: &str) -> Guest {
        self.collect = body.to_owned();
        self
    }

    /// What `configure`, or for a discovery `validate`, does.
    pub(super) fn configure(mut self, body: &str) -> Guest {
        self.configure = body.to_owned();
        self
    }

    pub(super) fn import(mut self, interface: &str, function: &str, signature: &str) -> Guest {
        self.imports += &format!(
            "(import \"narthex:plugin/{interface}@0.1.0\" \"{function}\" (func ${function} \
             {signature}))\n"
        );
        self
    }

    pub(super) fn function(mut self, text: &str) -> Guest {
        self.functions += text;
        self
    }

    /// Another version of the contract, as of a plugin that is too new.
    pub(super) fn contract(mut self, version: &str) -> Guest {
        self.wit = self
            .wit
            .replace("narthex:plugin@0.1.0", &format!("narthex:plugin@{version}"));
        self
    }

    /// Puts bytes into the memory; gives their address.
    pub(super) fn put(&mut self, bytes: &[u8]) -> u32 {
        let at = self.next.next_multiple_of(8);
        self.next = at + u32::try_from(bytes.len()).unwrap();
        self.data.push((at, bytes.to_vec()));
        at
    }

    /// A pointer and a length, as strings and lists are.
    pub(super) fn text(&mut self, text: &str) -> Vec<u8> {
        let at = self.put(text.as_bytes());
        pair(at, text.len())
    }

    /// Wants to read a path.
    pub(super) fn wants_file(mut self, path: &str) -> Guest {
        let path = self.text(path);
        let list = self.put(&path);
        let (description, version) = (self.text("a test"), self.text("1.2.3"));
        let mut manifest = [description, version, pair(list, 1)].concat();
        // The optional wants and the interval are none.
        manifest.resize(112, 0);
        self.describe = self.put(&manifest);
        self
    }

    /// Collects one gauge of this name and value.
    pub(super) fn gives(mut self, name: &str, value: f64) -> Guest {
        let mut metric = vec![0; 56];
        metric[16..24].copy_from_slice(&value.to_le_bytes());
        let metrics = self.put(&metric);
        let result = self.family(name, pair(metrics, 1));
        self.collect(&format!("(i32.const {result})"))
    }

    /// Collects as many metrics without labels.
    pub(super) fn gives_many(mut self, count: usize) -> Guest {
        let metrics = self.put(&vec![0; 56 * count]);
        let result = self.family("many", pair(metrics, count));
        self.collect(&format!("(i32.const {result})"))
    }

    /// Collects metrics with one label each, all of which share one long value.
    pub(super) fn gives_long_labels(mut self, count: usize, value_bytes: usize) -> Guest {
        let value = self.put(&vec![b'x'; value_bytes]);
        let values = self.put(&pair(value, value_bytes));
        let mut metric = pair(values, 1);
        metric.resize(56, 0);
        let metrics = self.put(&metric.repeat(count));
        let result = self.family("long", pair(metrics, count));
        self.collect(&format!("(i32.const {result})"))
    }

    /// The address of a result that is a family.
    fn family(&mut self, name: &str, metrics: Vec<u8>) -> u32 {
        let name = self.text(name);
        // The type gauge is the second of the enumeration.
        let kind = vec![1, 0, 0, 0];
        let family = [name, kind, vec![0; 24], metrics].concat();
        let families = self.put(&family);
        let result = [vec![0; 4], pair(families, 1)].concat();
        self.put(&result)
    }

    /// Fails with this text.
    pub(super) fn fails(mut self, text: &str) -> Guest {
        let text = self.text(text);
        let result = self.put(&[vec![1, 0, 0, 0], text].concat());
        self.collect(&format!("(i32.const {result})"))
    }

    /// Reads a file and fails with what the host says; if it may read, gives nothing.
    pub(super) fn reads(mut self, path: &str) -> Guest {
        let at = self.put(path.as_bytes());
        let length = path.len();
        let out = self.put(&[0; 16]);
        self.import("files", "read", "(param i32 i32 i32)")
            .collect(&format!(
                "(call $read (i32.const {at}) (i32.const {length}) (i32.const 1024))
                 (if (i32.load8_u (i32.const 1024)) (then
                   (i32.store8 (i32.const {out}) (i32.const 1))
                   (i32.store (i32.add (i32.const {out}) (i32.const 4))
                              (i32.load (i32.const 1032)))
                   (i32.store (i32.add (i32.const {out}) (i32.const 8))
                              (i32.load (i32.const 1036)))))
                 (i32.const {out})"
            ))
    }

    /// The address and number of groups, each a source with one target.
    pub(super) fn groups(&mut self, groups: &[(&str, &str)]) -> (u32, usize) {
        let mut list = Vec::new();
        for (source, address) in groups {
            let source = self.text(source);
            let (name, value) = (self.text("__address__"), self.text(address));
            let target = self.put(&[name, value].concat());
            let target = self.put(&pair(target, 1));
            list.extend([source, pair(target, 1), vec![0; 8]].concat());
        }
        (self.put(&list), groups.len())
    }

    /// Publishes these groups at once, then runs `then`.
    pub(super) fn publishes(mut self, groups: &[(&str, &str)], then: &str) -> Guest {
        let (at, count) = self.groups(groups);
        self.import("publisher", "publish", "(param i32 i32 i32)")
            .import("events", "wait", "(param i32)")
            .import("events", "timer", "(param i64 i32)")
            .collect(&format!(
                "(call $publish (i32.const {at}) (i32.const {count}) (i32.const 1024)) {then}"
            ))
    }

    pub(super) fn build(self) -> Vec<u8> {
        let interface = format!("narthex:plugin/{}@0.1.0", self.interface);
        let interface = match self.wit.contains("package narthex:plugin@0.1.0;") {
            true => interface,
            false => {
                let version = self.wit.split("narthex:plugin@").nth(1).unwrap();
                let version = version.split(';').next().unwrap();
                interface.replace("0.1.0", version)
            }
        };
        let (configure, collect, signature) = match self.world {
            "exporter" => ("configure", "collect", ""),
            _ => ("validate", "run", "(param i32 i32 i32 i32)"),
        };
        let configure_signature = match self.world {
            "exporter" => "(param i32 i32)",
            _ => signature,
        };
        let data: String = self
            .data
            .iter()
            .map(|(at, bytes)| {
                let bytes: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
                format!("(data (i32.const {at}) \"{bytes}\")\n")
            })
            .collect();
        let pages = self.next.div_ceil(65_536) + 1;
        let heap = self.next.next_multiple_of(8);
        let text = format!(
            "(module
               {imports}
               (memory (export \"memory\") {pages})
               (global $heap (mut i32) (i32.const {heap}))
               (func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)
                 (local $at i32)
                 (local.set $at (global.get $heap))
                 (global.set $heap (i32.and
                   (i32.add (i32.add (global.get $heap) (local.get 3)) (i32.const 15))
                   (i32.const -8)))
                 (local.get $at))
               {functions}
               (func (export \"{interface}#describe\") (result i32) (i32.const {describe}))
               (func (export \"{interface}#{configure}\") {configure_signature} (result i32)
                 {configure_body})
               (func (export \"{interface}#{collect}\") {signature} (result i32) {collect_body})
               {data})",
            imports = self.imports,
            functions = self.functions,
            describe = self.describe,
            configure_body = self.configure,
            collect_body = self.collect,
        );
        let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"));
        embed(&mut module, &self.wit, self.world);
        module
    }
}

/// Adds the component type.
pub(super) fn embed(module: &mut Vec<u8>, wit: &str, world: &str) {
    let mut resolve = Resolve::default();
    let package = resolve.push_str(Path::new("plugin.wit"), wit).unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    wit_component::embed_component_metadata(module, &resolve, world, StringEncoding::UTF8, false)
        .unwrap();
}

fn pair(at: u32, length: usize) -> Vec<u8> {
    let length = u32::try_from(length).unwrap();
    [at.to_le_bytes(), length.to_le_bytes()].concat()
}
