//! Reads one kustomization file: which files and directories it names, and for what.

use std::path::{Path, PathBuf};

use crm_manifest::{Input, KUSTOMIZATIONS, Step, SyntaxError, Tree};
use serde_json::{Map, Value};

/// The group of kustomization files. Others, such as that of Flux, have a kind of the same name.
const GROUP: &str = "kustomize.config.k8s.io/";
/// Why a file with a list or a string cannot be a kustomization file.
const NO_MAP: &str = "a kustomization file is a map";

/// What a kustomization file says about other files.
#[derive(Clone, Debug, Default)]
pub(super) struct Kustomization {
    /// Whether it is a component, which is no deployment by itself.
    pub(super) is_component: bool,
    pub(super) mentions: Vec<Mention>,
    /// The byte of the value of the field with charts of Helm.
    pub(super) charts: Option<usize>,
    /// The fields that count only in the kustomization that is built, and not in those that it refers to.
    pub(super) only_at_root: Map<String, Value>,
}

/// A file or directory that a kustomization file names.
#[derive(Clone, Debug)]
pub(super) struct Mention {
    /// As written, without the key of a generator's file.
    pub(super) path: String,
    /// Its byte in the file.
    pub(super) at: usize,
    pub(super) role: Role,
}

/// For what a file is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It has objects, or is a unit with objects.
    Resource,
    /// It is a component.
    Component,
    /// It changes or generates objects, and has none: a patch, the data of a ConfigMap, a transformer.
    Input,
    /// Nobody knows, because the kustomization file cannot be read.
    Unknown,
}

/// What a file with the name of a kustomization file is.
#[derive(Clone, Debug)]
pub(super) enum Reading {
    /// A kustomization file.
    Kustomization(Kustomization),
    /// Probably a kustomization file: it cannot be read for this reason, at this byte.
    Unreadable(usize, String),
    /// A file of another kind, or an empty one.
    Other,
}

/// The kustomization files that a directory could have.
pub(super) fn files_in(directory: &Path) -> impl Iterator<Item = PathBuf> {
    KUSTOMIZATIONS.iter().map(|name| directory.join(name))
}

impl Kustomization {
    pub(super) fn read(input: &Input) -> Reading {
        if let Some(SyntaxError { line, column, message }) = input.errors().first() {
            return Reading::Unreadable(input.text().byte(*line, *column), message.clone());
        }
        let Some(document) = input.documents().first() else { return Reading::Other };
        let tree = &document.tree;
        match tree.value(tree.root).as_object() {
            Some(fields) => Self::of(tree, fields).map_or(Reading::Other, Reading::Kustomization),
            None => Reading::Unreadable(tree.node(tree.root).range.start, NO_MAP.to_owned()),
        }
    }

    /// `None` if it is a file of another kind.
    fn of(tree: &Tree, fields: &Map<String, Value>) -> Option<Self> {
        let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
        let is_ours = |version: &str| version.is_empty() || version.starts_with(GROUP);
        if !is_ours(text("apiVersion")) || !["", "Kustomization", "Component"].contains(&text("kind")) {
            return None;
        }
        let mut mentions = Vec::new();
        for (path, role) in mentioned(fields) {
            let found = tree.find(tree.root, &path);
            let written = found.node.map(|node| tree.value(node));
            let written = written.as_ref().and_then(Value::as_str).filter(|written| !is_inline(written));
            mentions.extend(written.map(|written| Mention {
                path: without_key(&path, written).to_owned(),
                at: found.position,
                role,
            }));
        }
        let charts = ["helmCharts", "helmChartInflationGenerator"].into_iter();
        let charts = charts.filter(|key| fields.get(*key).is_some_and(|charts| charts != &Value::Null));
        let place = |key: &str| tree.find(tree.root, &[Step::Name(key.to_owned())]).position;
        let only_at_root = ["sortOptions", "openapi"].into_iter();
        let only_at_root = only_at_root.filter_map(|key| Some((key.to_owned(), fields.get(key)?.clone())));
        Some(Self {
            is_component: text("kind") == "Component",
            mentions,
            charts: charts.map(place).next(),
            only_at_root: only_at_root.collect(),
        })
    }
}

/// The paths of all fields that name a file or a directory.
fn mentioned(fields: &Map<String, Value>) -> Vec<(Vec<Step>, Role)> {
    let mut found = Vec::new();
    for (key, role) in [
        ("resources", Role::Resource),
        ("bases", Role::Resource),
        ("components", Role::Component),
        ("patchesStrategicMerge", Role::Input),
        ("crds", Role::Input),
        ("configurations", Role::Input),
        ("generators", Role::Input),
        ("transformers", Role::Input),
        ("validators", Role::Input),
    ] {
        found.extend(entries(fields.get(key), vec![name(key)]).into_iter().map(|(path, _)| (path, role)));
    }
    let inputs = |found: &mut Vec<_>, paths: Vec<Vec<Step>>| {
        found.extend(paths.into_iter().map(|path| (path, Role::Input)));
    };
    for (key, of_entry, lists) in [
        ("patches", &["path"][..], &[][..]),
        ("patchesJson6902", &["path"], &[]),
        ("replacements", &["path"], &[]),
        ("configMapGenerator", &["env"], &["files", "envs"]),
        ("secretGenerator", &["env"], &["files", "envs"]),
        ("helmCharts", &["valuesFile"], &["additionalValuesFiles"]),
        ("helmChartInflationGenerator", &["values"], &[]),
    ] {
        for (path, entry) in entries(fields.get(key), vec![name(key)]) {
            let below = |field: &str| [path.clone(), vec![name(field)]].concat();
            inputs(&mut found, of_entry.iter().map(|field| below(field)).collect());
            for list in lists {
                let files = entries(entry.get(list), below(list));
                inputs(&mut found, files.into_iter().map(|(path, _)| path).collect());
            }
        }
    }
    inputs(&mut found, vec![vec![name("openapi"), name("path")]]);
    found
}

/// The entries of a list, each with its path.
fn entries(list: Option<&Value>, path: Vec<Step>) -> Vec<(Vec<Step>, &Value)> {
    let entries = list.and_then(Value::as_array).into_iter().flatten().enumerate();
    entries.map(|(index, entry)| ([path.clone(), vec![Step::Index(index)]].concat(), entry)).collect()
}

fn name(name: &str) -> Step {
    Step::Name(name.to_owned())
}

/// Whether a patch or a transformer is written in place of its path.
fn is_inline(written: &str) -> bool {
    written.contains('\n') || written.contains(": ") || written.trim_start().starts_with(['{', '['])
}

/// A generator can give a file another key: `key=path`.
fn without_key<'p>(path: &[Step], written: &'p str) -> &'p str {
    let is_generated = path.iter().any(|step| *step == name("files"));
    written.split_once('=').filter(|_| is_generated).map_or(written, |(_, path)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(text: &str) -> Reading {
        Kustomization::read(&Input::new(Path::new("kustomization.yaml"), text.to_owned()))
    }

    fn read(text: &str) -> Option<Kustomization> {
        match reading(text) {
            Reading::Kustomization(kustomization) => Some(kustomization),
            Reading::Unreadable(..) | Reading::Other => None,
        }
    }

    fn paths(text: &str) -> Vec<(String, Role)> {
        read(text).unwrap().mentions.into_iter().map(|mention| (mention.path, mention.role)).collect()
    }

    fn expected(role: Role, paths: &[&str]) -> Vec<(String, Role)> {
        paths.iter().map(|path| ((*path).to_owned(), role)).collect()
    }

    #[test]
    fn resources_and_components_have_their_roles() {
        assert_eq!(paths("resources: [a.yaml, ../base]\nbases: [../old]\n"), {
            expected(Role::Resource, &["a.yaml", "../base", "../old"])
        });
        assert_eq!(paths("components: [../c]\n"), expected(Role::Component, &["../c"]));
    }

    #[test]
    fn everything_else_that_is_read_has_no_objects() {
        let text = "patchesStrategicMerge: [a]\ncrds: [b]\nconfigurations: [c]\ngenerators: [d]\ntransformers: [e]\n\
                    validators: [f]\npatches: [{path: g}, {patch: x}]\npatchesJson6902: [{path: h}]\n\
                    replacements: [{path: i}]\nconfigMapGenerator: [{files: [j, key=k], envs: [l], env: m}]\n\
                    secretGenerator: [{files: [o]}]\nopenapi: {path: p}\n";
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "m", "j", "k", "l", "o", "p"];
        assert_eq!(paths(text), expected(Role::Input, &names));
    }

    #[test]
    fn what_is_written_in_place_of_a_path_names_no_file() {
        assert_eq!(paths("transformers: ['kind: A', '{kind: B}', \"kind:\\n  C\"]\n"), []);
    }

    #[test]
    fn a_file_of_another_kind_is_no_kustomization_file() {
        assert!(read("apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\n").is_none());
        assert!(matches!(reading("kind: Company\n"), Reading::Other));
        assert!(matches!(reading("# nothing\n"), Reading::Other));
        assert!(read("{}\n").is_some());
        let component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n";
        assert!(read(component).unwrap().is_component);
    }

    #[test]
    fn a_file_that_is_no_map_cannot_be_read() {
        for (text, place) in [("# c\n- a\n", 4), ("resources: [\n", 13), ("a: 1\n---\n]\n", 9)] {
            let read = reading(text);
            assert!(matches!(read, Reading::Unreadable(at, _) if at == place), "{text:?}: {read:?}");
        }
    }

    #[test]
    fn charts_and_the_fields_of_the_root_are_known() {
        let text = "helmCharts: [{name: a}]\nsortOptions: {order: fifo}\n";
        let kustomization = read(text).unwrap();
        assert_eq!(kustomization.charts, Some("helmCharts: ".len()));
        assert_eq!(
            Value::Object(kustomization.only_at_root),
            serde_json::json!({"sortOptions": {"order": "fifo"}})
        );
    }

    #[test]
    fn a_wrong_type_names_nothing() {
        assert_eq!(
            paths("resources: a\npatches: [1]\nconfigMapGenerator: [{files: 1}]\ncomponents: [null]\n"),
            []
        );
    }
}
