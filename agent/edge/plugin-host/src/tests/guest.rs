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
    version: String,
    imports: String,
    functions: String,
    describe: String,
    collect: String,
    configure: String,
    data: Vec<(u32, Vec<u8>)>,
    next: u32,
    /// What WASI it imports, as nested packages and as imports of the world.
    wasi: Option<(&'static str, &'static str)>,
    /// Of the memory, where it is not just what the data needs.
    pages: Option<u32>,
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
            version: "1.0.0".to_owned(),
            imports: String::new(),
            functions: String::new(),
            describe: format!("(i32.const {ZEROS})"),
            collect: format!("(i32.const {ZEROS})"),
            configure: format!("(i32.const {ZEROS})"),
            data: Vec::new(),
            next: DATA,
            wasi: None,
            pages: None,
        }
    }

    /// What `collect`, or for a discovery `run`, does. Gives the address of its result.
    pub(super) fn collect(mut self, body: &str) -> Guest {
        self.collect = body.to_owned();
        self
    }

    /// What `describe` does.
    pub(super) fn describes(mut self, body: &str) -> Guest {
        self.describe = body.to_owned();
        self
    }

    /// What `configure`, or for a discovery `validate`, does.
    pub(super) fn configure(mut self, body: &str) -> Guest {
        self.configure = body.to_owned();
        self
    }

    pub(super) fn import(mut self, interface: &str, function: &str, signature: &str) -> Guest {
        self.imports += &format!(
            "(import \"narthex:plugin/{interface}@VERSION\" \"{function}\" (func ${function} \
             {signature}))\n"
        );
        self
    }

    /// A function of another package; `module` has its version.
    pub(super) fn foreign_import(mut self, module: &str, name: &str, function: &str) -> Guest {
        self.imports += &format!("(import \"{module}\" \"{name}\" {function})\n");
        self
    }

    /// Nested packages of WIT, and the world's imports from them.
    pub(super) fn wasi(mut self, packages: &'static str, imports: &'static str) -> Guest {
        self.wasi = Some((packages, imports));
        self
    }

    pub(super) fn pages(mut self, pages: u32) -> Guest {
        self.pages = Some(pages);
        self
    }

    /// Collects one gauge, whose value the expression gives.
    pub(super) fn gives_result_of(mut self, name: &str, expression: &str) -> Guest {
        let values = self.put(&[0; 8]);
        let result = self.family(name, [0; 8].to_vec(), pair(values, 1));
        self.collect(&format!(
            "(f64.store (i32.const {values}) (f64.convert_i32_u {expression}))
             (i32.const {result})"
        ))
    }

    /// Collects one metric whose label has a value of so many bytes, all zero, in memory that is
    /// only taken when it collects.
    pub(super) fn grows_and_gives_long_label(mut self, value_bytes: usize) -> Guest {
        let label = self.put(&pair(0, value_bytes));
        let values = self.put(&[0; 8]);
        let name = self.text("label");
        let names = self.put(&name);
        let result = self.family("long", pair(label, 1), pair(values, 1));
        let family = result - 80;
        let place = self.data.iter_mut().find(|(at, _)| *at == family).unwrap();
        place.1[28..36].copy_from_slice(&pair(names, 1));
        let pages = value_bytes.div_ceil(65_536);
        self.collect(&format!(
            "(i32.store (i32.const {label})
                        (i32.mul (memory.grow (i32.const {pages})) (i32.const 65536)))
             (i32.const {result})"
        ))
    }

    pub(super) fn function(mut self, text: &str) -> Guest {
        self.functions += text;
        self
    }

    /// Another version of the contract, as of a plugin that is too new.
    pub(super) fn contract(mut self, version: &str) -> Guest {
        self.version = version.to_owned();
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
    pub(super) fn wants_file(self, path: &str) -> Guest {
        self.wants(0, path)
    }

    /// Wants to request a URL.
    pub(super) fn wants_http(self, url: &str) -> Guest {
        self.wants(1, url)
    }

    /// Wants to look up a name.
    pub(super) fn wants_dns(self, name: &str) -> Guest {
        self.wants(2, name)
    }

    /// Wants to read a path and to request a URL.
    pub(super) fn wants_both(self, path: &str, url: &str) -> Guest {
        self.wants_all(&[(0, path), (1, url)])
    }

    fn wants(self, list: usize, text: &str) -> Guest {
        self.wants_all(&[(list, text)])
    }

    /// Some of the lists of wants, with one entry each.
    fn wants_all(mut self, wants: &[(usize, &str)]) -> Guest {
        let (description, version) = (self.text("a test"), self.text("1.2.3"));
        let mut manifest = [description, version].concat();
        // Of the optional wants and the interval there are none.
        manifest.resize(104, 0);
        for (list, text) in wants {
            let text = self.text(text);
            let entry = self.put(&text);
            let at = 16 + 8 * list;
            manifest[at..at + 8].copy_from_slice(&pair(entry, 1));
        }
        self.describe = format!("(i32.const {})", self.put(&manifest));
        self
    }

    /// Collects one gauge of this name and value.
    pub(super) fn gives(mut self, name: &str, value: f64) -> Guest {
        let values = self.put(&value.to_le_bytes());
        let result = self.family(name, [0; 8].to_vec(), pair(values, 1));
        self.collect(&format!("(i32.const {result})"))
    }

    /// Collects as many metrics without labels.
    pub(super) fn gives_many(mut self, count: usize) -> Guest {
        let values = self.put(&vec![0; 8 * count]);
        let result = self.family("many", [0; 8].to_vec(), pair(values, count));
        self.collect(&format!("(i32.const {result})"))
    }

    /// As many metrics, whose values lie in memory that is only taken when it collects.
    pub(super) fn grows_and_gives_many(mut self, count: usize) -> Guest {
        let result = self.family("many", [0; 8].to_vec(), pair(0, count));
        // The family's address is the second word of the result's list.
        let pages = (8 * count).div_ceil(65_536);
        self.collect(&format!(
            "(i32.store (i32.add (i32.load (i32.const {at})) (i32.const 48))
                        (i32.mul (memory.grow (i32.const {pages})) (i32.const 65536)))
             (i32.const {result})",
            at = result + 4
        ))
    }

    /// Collects metrics with one label each, all of which share one long value.
    pub(super) fn gives_long_labels(mut self, count: usize, value_bytes: usize) -> Guest {
        let value = self.put(&vec![b'x'; value_bytes]);
        let labels = self.put(&pair(value, value_bytes).repeat(count));
        let values = self.put(&vec![0; 8 * count]);
        let name = self.text("label");
        let names = self.put(&name);
        let result = self.family("long", pair(labels, count), pair(values, count));
        let family = result - 80;
        let names = pair(names, 1);
        let place = self.data.iter_mut().find(|(at, _)| *at == family).unwrap();
        place.1[28..36].copy_from_slice(&names);
        self.collect(&format!("(i32.const {result})"))
    }

    /// The address of a result that is a family; the family lies 80 bytes before it.
    fn family(&mut self, name: &str, label_values: Vec<u8>, numbers: Vec<u8>) -> u32 {
        let name = self.text(name);
        // The type gauge is the second of the enumeration.
        let kind = vec![1, 0, 0, 0];
        let texts_and_names = vec![0; 24];
        let case = vec![0; 4];
        let times = vec![0; 16];
        let parts = [
            name,
            kind,
            texts_and_names,
            label_values,
            case,
            numbers,
            times,
        ];
        let mut family = parts.concat();
        assert_eq!(family.len(), 72);
        family.resize(80, 0);
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

    /// Fetches a URL and fails with the body, or with what the host says.
    pub(super) fn fetches(mut self, url: &str) -> Guest {
        let at = self.put(url.as_bytes());
        let method = self.put(b"GET");
        let length = url.len();
        let out = self.put(&[0; 16]);
        self.import(
            "http",
            "fetch",
            "(param i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)",
        )
        .collect(&format!(
            "(call $fetch (i64.const 0) (i32.const {method}) (i32.const 3) (i32.const {at})
                          (i32.const {length}) (i32.const 0) (i32.const 0) (i32.const 0)
                          (i32.const 0) (i32.const 0) (i64.const 0) (i32.const 1024))
             (i32.store8 (i32.const {out}) (i32.const 1))
             (if (i32.load8_u (i32.const 1024))
               (then
                 (i32.store offset=4 (i32.const {out}) (i32.load (i32.const 1032)))
                 (i32.store offset=8 (i32.const {out}) (i32.load (i32.const 1036))))
               (else
                 (i32.store offset=4 (i32.const {out}) (i32.load (i32.const 1048)))
                 (i32.store offset=8 (i32.const {out}) (i32.load (i32.const 1052)))))
             (i32.const {out})"
        ))
    }

    /// Makes a client of these options at its start and fetches with it; fails with the body, or
    /// with what the host says.
    pub(super) fn fetches_with(mut self, options: &str, base: &str, url: &str) -> Guest {
        let (at, length) = (self.put(options.as_bytes()), options.len());
        let (base_at, base_length) = (self.put(base.as_bytes()), base.len());
        let refused = self.put(&[0; 16]);
        let mut guest = self.fetches(url);
        let fetch = guest.collect.replace(
            "(i64.const 0) (i32.const",
            "(global.get $client) (i32.const",
        );
        guest = guest
            .import("http", "make-client", "(param i32 i32 i32 i32 i32)")
            .function("(global $client (mut i64) (i64.const 0))");
        guest.collect(&format!(
            "(if (i64.eqz (global.get $client)) (then
               (call $make-client (i32.const {at}) (i32.const {length}) (i32.const {base_at})
                                  (i32.const {base_length}) (i32.const 1024))
               (if (i32.load8_u (i32.const 1024)) (then
                 (i32.store8 (i32.const {refused}) (i32.const 1))
                 (i32.store offset=4 (i32.const {refused}) (i32.load (i32.const 1040)))
                 (i32.store offset=8 (i32.const {refused}) (i32.load (i32.const 1044)))
                 (return (i32.const {refused}))))
               (global.set $client (i64.load (i32.const 1032)))))
             {fetch}"
        ))
    }

    /// Asks a query and fails with the first series' first label value, or with what the host says.
    pub(super) fn asks(mut self, expr: &str) -> Guest {
        let (at, length) = (self.put(expr.as_bytes()), expr.len());
        let out = self.put(&[0; 16]);
        // The list of series, the first one's labels, the first one's value.
        let value = "(i32.load (i32.load (i32.const 1028)))";
        self.import("query", "instant", "(param i32 i32 i64 i32)")
            .collect(&format!(
                "(call $instant (i32.const {at}) (i32.const {length}) (i64.const 7000)
                                (i32.const 1024))
                 (i32.store8 (i32.const {out}) (i32.const 1))
                 (if (i32.load8_u (i32.const 1024))
                   (then
                     (i32.store offset=4 (i32.const {out}) (i32.load (i32.const 1032)))
                     (i32.store offset=8 (i32.const {out}) (i32.load (i32.const 1036))))
                   (else
                     (i32.store offset=4 (i32.const {out}) (i32.load offset=8 {value}))
                     (i32.store offset=8 (i32.const {out}) (i32.load offset=12 {value}))))
                 (i32.const {out})"
            ))
    }

    /// Wants to ask queries.
    pub(super) fn wants_query(mut self) -> Guest {
        let mut manifest = vec![0; 104];
        // After four lists of texts, and whether it wants the system's facts.
        manifest[16 + 4 * 8 + 1] = 1;
        self.describe = format!("(i32.const {})", self.put(&manifest));
        self
    }

    /// Starts a request, takes all that comes, waiting for it, and gives the number of bytes.
    pub(super) fn counts_stream(mut self, url: &str) -> Guest {
        let (at, method) = (self.put(url.as_bytes()), self.put(b"GET"));
        let length = url.len();
        self.import(
            "http",
            "start",
            "(param i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)",
        )
        .import("http", "take", "(param i64 i32)")
        .import("events", "wait", "(param i32)")
        .function(&format!(
            "(func $count (result i32)
               (local $bytes i32) (local $stream i64)
               (call $start (i64.const 0) (i32.const {method}) (i32.const 3) (i32.const {at})
                            (i32.const {length}) (i32.const 0) (i32.const 0) (i32.const 0)
                            (i32.const 0) (i32.const 0) (i64.const 0) (i32.const 1024))
               (if (i32.load8_u (i32.const 1024)) (then (return (i32.const 999999))))
               (local.set $stream (i64.load (i32.const 1032)))
               (loop $again
                 (call $wait (i32.const 1040))
                 (block $drained
                   (loop $more
                     (call $take (local.get $stream) (i32.const 1056))
                     (if (i32.load8_u (i32.const 1056)) (then (return (i32.const 888888))))
                     (br_if $drained (i32.eqz (i32.load8_u (i32.const 1060))))
                     (if (i32.eq (i32.load8_u (i32.const 1060)) (i32.const 3))
                       (then (return (local.get $bytes))))
                     (if (i32.eq (i32.load8_u (i32.const 1060)) (i32.const 2))
                       (then (local.set $bytes
                         (i32.add (local.get $bytes) (i32.load (i32.const 1068))))))
                     (br $more)))
                 (br $again))
               unreachable)"
        ))
        .gives_result_of("bytes", "(call $count)")
    }

    /// Starts a request and waits for so long without taking anything of it.
    pub(super) fn ignores_stream(mut self, url: &str, wait_ms: u64) -> Guest {
        let (at, method) = (self.put(url.as_bytes()), self.put(b"GET"));
        let length = url.len();
        self.import(
            "http",
            "start",
            "(param i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64 i32)",
        )
        .import("events", "wait", "(param i32)")
        .import("events", "timer", "(param i64 i32)")
        .function(&format!(
            "(func $ignore (result i32)
               (call $start (i64.const 0) (i32.const {method}) (i32.const 3) (i32.const {at})
                            (i32.const {length}) (i32.const 0) (i32.const 0) (i32.const 0)
                            (i32.const 0) (i32.const 0) (i64.const 0) (i32.const 1024))
               (call $wait (i32.const 1040))
               (call $timer (i64.const {wait_ms}) (i32.const 1056))
               (call $wait (i32.const 1040))
               (i32.load (i32.const 1044)))"
        ))
        .gives_result_of("fired", "(call $ignore)")
    }

    /// Looks up the addresses of a name and fails with the first, or with what the host says.
    pub(super) fn looks_up(mut self, name: &str) -> Guest {
        let at = self.put(name.as_bytes());
        let length = name.len();
        let nothing = self.put(b"nothing");
        let out = self.put(&[0; 16]);
        self.import("dns", "lookup", "(param i32 i32 i32 i32)")
            .collect(&format!(
                "(call $lookup (i32.const {at}) (i32.const {length}) (i32.const 0) (i32.const 1024))
                 (i32.store8 (i32.const {out}) (i32.const 1))
                 (if (i32.load8_u (i32.const 1024))
                   (then
                     (i32.store offset=4 (i32.const {out}) (i32.load (i32.const 1032)))
                     (i32.store offset=8 (i32.const {out}) (i32.load (i32.const 1036))))
                   (else (if (i32.load (i32.const 1032))
                     (then
                       (i32.store offset=4 (i32.const {out})
                                  (i32.load offset=4 (i32.load (i32.const 1028))))
                       (i32.store offset=8 (i32.const {out})
                                  (i32.load offset=8 (i32.load (i32.const 1028)))))
                     (else
                       (i32.store offset=4 (i32.const {out}) (i32.const {nothing}))
                       (i32.store offset=8 (i32.const {out}) (i32.const 7))))))
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
        let version = &self.version;
        let wit = WIT.replace("narthex:plugin@1.0.0", &format!("narthex:plugin@{version}"));
        let interface = format!("narthex:plugin/{}@{version}", self.interface);
        let (wit, world) = match self.wasi {
            None => (wit, self.world),
            Some((packages, imports)) => (
                format!(
                    "{wit}\nworld with-wasi {{ include {}; {imports} }}\n{packages}",
                    self.world
                ),
                "with-wasi",
            ),
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
        let pages = self.pages.unwrap_or(self.next.div_ceil(65_536) + 1);
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
               (func (export \"{interface}#describe\") (result i32) {describe})
               (func (export \"{interface}#{configure}\") {configure_signature} (result i32)
                 {configure_body})
               (func (export \"{interface}#{collect}\") {signature} (result i32) {collect_body})
               {data})",
            imports = self.imports.replace("VERSION", version),
            functions = self.functions,
            describe = self.describe,
            configure_body = self.configure,
            collect_body = self.collect,
        );
        let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"));
        embed(&mut module, &wit, world);
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
