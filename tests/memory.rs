//! Tests the functions that replace those of musl in the static program: compiles them with the C compiler of this machine,
//! and lets a program in C compare them with loops over bytes.

use std::path::Path;
use std::process::Command;

#[test]
fn memory_is_copied_and_compared_as_by_a_loop_and_nothing_else_is_touched() {
    let directory = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let object = |source: &str, args: &[&str]| {
        let object = directory.path().join(source.replace('/', "-"));
        let object = object.with_extension("o");
        run(Command::new("cc").args(args).arg("-O2").arg("-c").arg(root.join(source)).arg("-o").arg(&object));
        object
    };
    // Without a prefix, they would replace the functions of the test.
    let tested = ["-ffreestanding", "-fno-builtin", "-DNAMED(function)=tested_##function"];
    let tested = object("scripts/lib/memory.c", &tested);
    let test = object("tests/memory.c", &[]);
    let program = directory.path().join("test");
    run(Command::new("cc").arg(tested).arg(test).arg("-o").arg(&program));
    run(&mut Command::new(program));
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said));
}
