//! What may lie in the plugin folder, and what is said of it.

use wasmtime::Engine;

use super::guest::{Guest, embed};
use crate::code::{World, compile};

fn engine() -> Engine {
    let mut config = wasmtime::Config::new();
    config.wasm_component_model(true).epoch_interruption(true);
    Engine::new(&config).unwrap()
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

#[test]
fn modules_and_components_load() {
    let engine = engine();
    let module = Guest::exporter().build();
    assert_eq!(compile(&engine, &module).unwrap().world(), World::Exporter);
    let mut encoder = wit_component::ComponentEncoder::default();
    encoder.module(&module).unwrap();
    let component = encoder.encode().unwrap();
    let world = compile(&engine, &component).unwrap().world();
    assert_eq!(world, World::Exporter);
    let module = Guest::discovery().build();
    assert_eq!(compile(&engine, &module).unwrap().world(), World::Discovery);
}

#[test]
fn what_is_no_plugin_is_refused_in_a_sentence() {
    let engine = engine();
    let mut cut = Guest::exporter().build();
    cut.truncate(cut.len() / 2);
    let mut foreign = wat("(module (func (export \"a:b/c#f\")))");
    embed(
        &mut foreign,
        "package a:b; interface c { f: func(); } world w { export c; }",
        "w",
    );
    let mut wasi = wat(
        "(module (import \"wasi_snapshot_preview1\" \"fd_write\" (func (param i32 i32 i32 i32) \
         (result i32))) (memory (export \"memory\") 1))",
    );
    embed(
        &mut wasi,
        "package narthex:plugin@0.1.0; interface metrics { } world w { export metrics; }",
        "w",
    );
    let mut foreign_import = wat("(module (import \"a:b/c\" \"f\" (func)) (func (export \
         \"narthex:plugin/metrics@0.1.0#f\") call 0))");
    embed(
        &mut foreign_import,
        "package narthex:plugin@0.1.0; interface metrics { f: func(); } world w { import \
         a:b/c; export metrics; } package a:b { interface c { f: func(); } }",
        "w",
    );
    let mut new_interface = wat(
        "(module (import \"narthex:plugin/http@0.1.0\" \"f\" (func)) (func (export \
         \"narthex:plugin/metrics@0.1.0#f\") call 0))",
    );
    embed(
        &mut new_interface,
        "package narthex:plugin@0.1.0; interface http { f: func(); } interface metrics { f: \
         func(); } world w { import http; export metrics; }",
        "w",
    );
    let cases: [(&str, Vec<u8>, &str); 15] = [
        ("empty", vec![], "the file is empty"),
        (
            "short",
            b"\0asm".to_vec(),
            "the file is not WebAssembly: 4 bytes",
        ),
        (
            "random",
            vec![0x8f, 1, 2, 3, 4, 5, 6, 7, 8, 9],
            "the file is not WebAssembly: it starts with the bytes 8f 01 02 03 04 05 06 07",
        ),
        (
            "text",
            b"(module (func))".to_vec(),
            "the file is not WebAssembly: it is WebAssembly text",
        ),
        (
            "program",
            b"\x7fELF\x02\x01\x01\0\0\0".to_vec(),
            "the file is not WebAssembly: it is a program for this machine; build it with `cargo",
        ),
        (
            "other version",
            b"\0asm\x02\0\0\0".to_vec(),
            "the file is not WebAssembly: it is of a version that is not known",
        ),
        ("cut", cut, "the file is not valid WebAssembly: "),
        (
            "plain module",
            wat("(module)"),
            "this is no Narthex plugin: it is a WebAssembly module that says nothing",
        ),
        (
            "other world",
            foreign,
            "this is no Narthex plugin: it exports a:b/c, and neither narthex:plugin/metrics nor",
        ),
        (
            "component that exports nothing",
            wat("(component)"),
            "this is no Narthex plugin: it exports nothing, and neither",
        ),
        (
            "newer contract",
            Guest::exporter().contract("1.1.0").build(),
            "the plugin is made for version 1.1.0 of the contract narthex:plugin, and this \
             Narthex speaks 0.1 and 1.0: update Narthex",
        ),
        (
            "older contract",
            Guest::discovery().contract("0.0.3").build(),
            "the plugin is made for version 0.0.3 of the contract narthex:plugin, which this \
             Narthex does not speak; it speaks 0.1 and 1.0: build the plugin with",
        ),
        ("wasi", wasi, "the plugin is a module that needs WASI ("),
        (
            "foreign import",
            foreign_import,
            "the plugin needs a:b/c, which Narthex does not offer",
        ),
        (
            "unknown interface",
            new_interface,
            "the plugin needs the host interface narthex:plugin/http@0.1.0, which this Narthex \
             does not have: update Narthex",
        ),
    ];
    for (name, bytes, expected) in cases {
        let error = match compile(&engine, &bytes) {
            Ok(_) => panic!("{name} was taken"),
            Err(error) => error.to_string(),
        };
        assert!(error.starts_with(expected), "{name}: {error}");
        assert!(!error.contains('\n'), "{name}: {error}");
    }
}

#[test]
fn a_later_patch_of_the_same_contract_loads() {
    let engine = engine();
    let module = Guest::exporter().contract("1.0.7").build();
    assert_eq!(compile(&engine, &module).unwrap().world(), World::Exporter);
}
