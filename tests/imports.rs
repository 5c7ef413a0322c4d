//! Reads the `use` lines of all files: no file may import itself through others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use regex::Regex;

/// The path of a module from the root of its package, such as `["policy", "reader"]`; the root has none.
type Module = Vec<String>;

/// The `use` lines of a file, with braces expanded.
#[derive(Debug, Default)]
struct Uses {
    imports: Vec<Vec<String>>,
    /// The public ones: names that the file only passes on.
    exports: Vec<Vec<String>>,
}

#[test]
fn no_file_imports_itself_through_others() {
    for root in ["src", "crates/core/src", "crates/manifest/src", "crates/check/src"] {
        let modules = modules(Path::new(env!("CARGO_MANIFEST_DIR")).join(root).as_path());
        assert!(modules.len() > 5, "{root}: {} files", modules.len());
        let circles = circles(&imports(&modules));
        assert!(circles.is_empty(), "{root}: these files import each other: {circles:?}");
    }
}

#[test]
fn a_circle_through_an_exported_name_is_found() {
    let modules = BTreeMap::from([
        (module(""), uses("mod a; mod b; pub use a::{One, Two as Other};")),
        (module("a"), uses("use crate::b::{self, Three};\npub struct One;")),
        (
            module("b"),
            uses("use crate::{\n    One,\n};\n#[cfg(test)]\nmod tests {\n    use crate::c::Four;\n}"),
        ),
        (module("c"), uses("use super::b::Three; pub use std::fmt;")),
    ]);
    assert_eq!(circles(&imports(&modules)), [[module("a"), module("b")]]);
}

#[test]
fn a_parent_that_uses_its_child_is_a_circle_only_if_the_child_uses_the_parent() {
    let with_child = |child: &str| {
        BTreeMap::from([
            (module(""), uses("")),
            (module("a"), uses("mod child;\nuse child::Thing;\nstruct Own;")),
            (module("a::child"), uses(child)),
        ])
    };
    assert!(circles(&imports(&with_child("use std::fmt;"))).is_empty());
    assert_eq!(circles(&imports(&with_child("use super::Own;"))).len(), 1);
}

fn module(path: &str) -> Module {
    path.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// The files of a package.
fn modules(root: &Path) -> BTreeMap<Module, Uses> {
    let mut found = BTreeMap::new();
    let mut pending = vec![(root.to_owned(), Module::new())];
    while let Some((directory, parent)) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let child = || parent.iter().cloned().chain([name.to_owned()]).collect::<Module>();
            if path.is_dir() {
                pending.push((path.clone(), child()));
            } else if path.extension().is_some_and(|extension| extension == "rs")
                && !["main", "tests", "samples"].contains(&name)
            {
                let module = if ["mod", "lib"].contains(&name) { parent.clone() } else { child() };
                found.insert(module, uses(&fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

/// The `use` lines outside of tests.
fn uses(source: &str) -> Uses {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let line = Regex::new(r"(?m)^(?:(pub(?:\([a-z ]+\))?) )?use ([^;]+);|; pub use ([^;]+);").unwrap();
    let mut uses = Uses::default();
    for found in line.captures_iter(code) {
        let is_export = found.get(1).is_some() || found.get(3).is_some();
        let tree = found.get(2).or(found.get(3)).unwrap().as_str();
        let paths = expanded(&tree.split_whitespace().collect::<Vec<_>>().join(" "));
        let list = if is_export { &mut uses.exports } else { &mut uses.imports };
        list.extend(paths.iter().map(|path| module(path)));
    }
    uses
}

/// `a::{b, c::d}` as `a::b` and `a::c::d`.
fn expanded(tree: &str) -> Vec<String> {
    let Some((prefix, rest)) = tree.split_once('{') else {
        return vec![tree.trim().trim_end_matches("::self").to_owned()];
    };
    let inner = rest.trim_end().strip_suffix('}').unwrap_or(rest);
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in inner.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    parts.flat_map(|part| expanded(&format!("{}{part}", prefix.trim_start()))).collect()
}

/// The files that each file imports from.
fn imports(modules: &BTreeMap<Module, Uses>) -> BTreeMap<Module, BTreeSet<Module>> {
    let of_file = |(module, uses): (&Module, &Uses)| {
        let targets = uses.imports.iter().filter_map(|path| target(modules, module, path, 0));
        (module.clone(), targets.filter(|target| target != module).collect())
    };
    modules.iter().map(of_file).collect()
}

/// The file that defines what a path names; `None` for other packages.
fn target(modules: &BTreeMap<Module, Uses>, from: &Module, path: &[String], depth: usize) -> Option<Module> {
    let mut at = from.clone();
    let mut rest = path;
    match path.first()?.as_str() {
        "crate" => {
            at.clear();
            rest = &path[1..];
        }
        "super" | "self" => {
            while let Some((first, tail)) = rest.split_first() {
                match first.as_str() {
                    "super" => drop(at.pop()),
                    "self" => {}
                    _ => break,
                }
                rest = tail;
            }
        }
        first => {
            let child = [at.clone(), vec![first.to_owned()]].concat();
            if !modules.contains_key(&child) {
                return None;
            }
        }
    }
    while let Some((first, tail)) = rest.split_first() {
        let child = [at.clone(), vec![first.clone()]].concat();
        if !modules.contains_key(&child) {
            break;
        }
        (at, rest) = (child, tail);
    }
    let name = rest.first().map(|name| name.split(" as ").next().unwrap_or_default());
    let is_export = |export: &&Vec<String>| {
        let last = export.last().map(String::as_str).unwrap_or_default();
        let (own, other) = last.split_once(" as ").unwrap_or((last, last));
        name.is_some_and(|name| name == own || name == other)
    };
    match modules[&at].exports.iter().find(is_export) {
        Some(export) if depth < 8 => target(modules, &at, export, depth + 1).or(Some(at)),
        _ => Some(at),
    }
}

/// The sets of files that import each other.
fn circles(imports: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<Vec<Module>> {
    let reached: BTreeMap<&Module, BTreeSet<&Module>> =
        imports.keys().map(|module| (module, reached(imports, module))).collect();
    let mut circles: Vec<Vec<Module>> = Vec::new();
    for module in imports.keys() {
        let back = |other: &&&Module| reached.get(**other).is_some_and(|others| others.contains(module));
        let mutual: Vec<Module> = reached[module].iter().filter(back).map(|other| (*other).clone()).collect();
        if !mutual.is_empty() && !circles.iter().any(|circle| circle.contains(module)) {
            circles.push(mutual);
        }
    }
    circles
}

fn reached<'i>(imports: &'i BTreeMap<Module, BTreeSet<Module>>, from: &Module) -> BTreeSet<&'i Module> {
    let mut reached = BTreeSet::new();
    let mut pending: Vec<&Module> = imports[from].iter().collect();
    while let Some(module) = pending.pop() {
        if reached.insert(module) {
            pending.extend(imports.get(module).into_iter().flatten());
        }
    }
    reached
}
