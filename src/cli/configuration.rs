//! The configuration file of `check`, `.crm-admission.yaml`: its keys are long flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;
use crm_core::api::names::{NEAR_MISS, nearest};
use crm_core::quote::quote;
use crm_manifest::{Content, Input, Step, Tree};
use schemars::{JsonSchema, schema_for};
use serde::Deserialize;
use serde_json::Value;

use super::variables;
use crate::kustomize::Mode;

/// The name of the file.
const NAME: &str = ".crm-admission.yaml";
/// Settings of `crm-admission check` for a repository. A flag or an environment variable replaces the value of a key.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(title = ".crm-admission.yaml")]
pub(super) struct Configuration {
    /// Files and directories to check, relative to this file.
    pub(super) paths: Option<Vec<PathBuf>>,
    /// Globs of files to leave out of directories, with the syntax of a .gitignore beside this file.
    pub(super) exclude: Option<Vec<String>>,
    /// Files and directories with manifests of other objects that exist, relative to this file.
    pub(super) resources: Option<Vec<PathBuf>>,
    /// The policy file, relative to this file.
    pub(super) policy: Option<PathBuf>,
    /// The user who will create the records.
    #[serde(rename = "as")]
    pub(super) as_user: Option<String>,
    /// The groups of that user.
    pub(super) as_groups: Option<Vec<String>>,
    /// The tool that applies the files.
    pub(super) applier: Option<ApplierArg>,
    /// Which findings make the command exit with 1.
    pub(super) fail_on: Option<FailOn>,
    /// Format of the report.
    pub(super) format: Option<FormatArg>,
    /// The values of variables such as `${NAME}` in the files. --var replaces those that it gives.
    pub(super) variables: Option<BTreeMap<String, String>>,
    /// What to do with directories that have a kustomization file.
    pub(super) kustomize: Option<Mode>,
    /// The baseline, relative to this file.
    pub(super) baseline: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum ApplierArg {
    Kubectl,
    Helm,
    Argocd,
    Flux,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum FormatArg {
    Text,
    Full,
    Json,
    Junit,
    Sarif,
    Github,
    Gitlab,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(super) enum FailOn {
    /// Findings that the webhook would deny.
    Deny,
    /// Those, and warnings.
    Warn,
}

/// A configuration, and the directory to which its paths are relative.
#[derive(Debug, Default)]
pub(super) struct Located {
    pub(super) configuration: Configuration,
    /// The file; `None` if there is none.
    pub(super) file: Option<PathBuf>,
    /// Relative to the current directory; empty for the current directory itself.
    directory: PathBuf,
}

/// The JSON schema of the file, with a line break at its end.
pub fn schema() -> String {
    crm_check::report::pretty(&schema_for!(Configuration))
}

/// Reads the given file; without one, the nearest in the current directory and those above it in the work tree of git.
pub(super) fn read(given: Option<&Path>) -> anyhow::Result<Located> {
    read_if_found(given.map(Path::to_owned).or_else(nearest_file))
}

/// Reads the given file; without one, the nearest in this directory and those above it in the work tree of git. Paths
/// start with the directory.
pub(super) fn read_for(given: Option<&Path>, directory: &Path) -> anyhow::Result<Located> {
    read_if_found(given.map(Path::to_owned).or_else(|| nearest_to(directory, Path::to_owned)))
}

fn read_if_found(file: Option<PathBuf>) -> anyhow::Result<Located> {
    let Some(file) = file else {
        return Ok(Located::default());
    };
    if file.as_os_str() == crm_manifest::STANDARD_INPUT {
        bail!("--config needs the name of a file, not -");
    }
    let text = crm_manifest::text(&file)
        .with_context(|| format!("{}: the configuration file cannot be read", file.display()))?;
    let configuration = parse(&Input::new(&file, text))?;
    let directory = file.parent().unwrap_or(Path::new("")).to_owned();
    Ok(Located { configuration, file: Some(file), directory })
}

fn nearest_file() -> Option<PathBuf> {
    let mut up = PathBuf::new();
    nearest_to(&std::env::current_dir().ok()?, |_| {
        let this = up.clone();
        up.push("..");
        this
    })
}

/// The nearest file in a directory and those above it. `written` gives a directory as it is to be written.
fn nearest_to(directory: &Path, mut written: impl FnMut(&Path) -> PathBuf) -> Option<PathBuf> {
    for directory in directory.ancestors() {
        let file = written(directory).join(NAME);
        if file.is_file() {
            return Some(file);
        }
        if directory.join(".git").exists() {
            return None;
        }
    }
    None
}

fn parse(input: &Input) -> anyhow::Result<Configuration> {
    let name = &input.name;
    if let Some(fault) = input.errors().first() {
        bail!("{name}:{}:{}: {}", fault.line, fault.column, fault.message);
    }
    let document = match input.documents() {
        [] => return Ok(Configuration::default()),
        [document] => document,
        several => bail!("{name}: a configuration is one document, but the file has {}", several.len()),
    };
    let tree = &document.tree;
    let place = |at| {
        let (line, column) = input.text().line_and_column(at);
        format!("{name}:{line}:{column}")
    };
    let keys = keys();
    if let Some((key, at)) = unknown_key(tree, &keys) {
        let keys = keys.iter().map(String::as_str);
        let advice = match nearest(keys.clone(), &key, NEAR_MISS) {
            Some(meant) => format!("did you mean {}?", quote(meant)),
            None => format!("the keys are {}", keys.collect::<Vec<_>>().join(", ")),
        };
        bail!("{}: unknown key {}: {advice}", place(at), quote(&key));
    }
    let value = tree.value(tree.root);
    let at = |path: &str| {
        let steps: Vec<Step> = path.split('.').map(|part| Step::Name(part.to_owned())).collect();
        place(tree.find(tree.root, &steps).position)
    };
    let configuration: Configuration = serde_path_to_error::deserialize(&value).map_err(|error| {
        let path = error.path().to_string();
        let key = path.split(['.', '[']).next().unwrap_or_default();
        // Of a value in a list, the place is that of the list.
        let place = at(path.split('[').next().unwrap_or_default());
        anyhow::anyhow!("{place}: {path}: {}{}", error.inner(), advice(key, &value[key]))
    })?;
    if configuration.baseline.as_ref().is_some_and(|name| name.as_os_str().is_empty()) {
        bail!("{}: baseline: give the name of a file", at("baseline"));
    }
    let names = configuration.variables.iter().flatten().map(|(name, _)| name);
    for name in names {
        variables::check_name(name)
            .map_err(|why| anyhow::anyhow!("{}: {why}", at(&format!("variables.{name}"))))?;
    }
    Ok(configuration)
}

/// The keys of the file, from its schema.
fn keys() -> Vec<String> {
    let schema = schema_for!(Configuration);
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flat_map(|properties| properties.keys().cloned()).collect()
}

/// The first key that does not exist, and its byte.
fn unknown_key(tree: &Tree, known: &[String]) -> Option<(String, usize)> {
    let Content::Mapping { entries, .. } = &tree.node(tree.resolve(tree.root)).content else {
        return None;
    };
    let unknown = entries.iter().find(|entry| !entry.merge && !known.contains(&entry.key))?;
    Some((unknown.key.clone(), unknown.key_range.start))
}

/// What was probably meant by a value of the wrong type.
fn advice(key: &str, value: &Value) -> String {
    let words = match key {
        "applier" => words::<ApplierArg>(),
        "format" => words::<FormatArg>(),
        "failOn" => words::<FailOn>(),
        "kustomize" => words::<Mode>(),
        _ => Vec::new(),
    };
    let meant = value.as_str().and_then(|text| nearest(words.iter().map(String::as_str), text, NEAR_MISS));
    match (meant, value) {
        (Some(meant), _) => format!("; did you mean {}?", quote(meant)),
        (None, Value::Object(_)) if key == "variables" => "; write it in quotes".to_owned(),
        (None, _) if key == "variables" => "; write a map: variables: {NAME: value}".to_owned(),
        (None, Value::String(text)) if words.is_empty() => {
            format!("; write a list: {key}: [{}]", quote(text))
        }
        _ => String::new(),
    }
}

fn words<T: ValueEnum>() -> Vec<String> {
    let values = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    values.map(|value| value.get_name().to_owned()).collect()
}

impl Located {
    /// The directory of the file, to which globs are relative.
    pub(super) fn base(&self) -> &Path {
        if self.directory.as_os_str().is_empty() { Path::new(".") } else { &self.directory }
    }

    /// A path of the file, relative to the current directory. `-` is standard input.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        if path.as_os_str() == crm_manifest::STANDARD_INPUT {
            path.to_owned()
        } else {
            self.directory.join(path)
        }
    }

    pub(super) fn paths(&self, paths: Option<&Vec<PathBuf>>) -> Vec<PathBuf> {
        paths.into_iter().flatten().map(|path| self.path(path)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_one_description() {
        let schema = schema_for!(Configuration);
        let properties = schema.get("properties").and_then(Value::as_object).unwrap();
        for (key, schema) in properties {
            assert!(schema["description"].is_string(), "{key} has no description");
            let of_type = schema["anyOf"].as_array().into_iter().flatten();
            assert!(of_type.clone().all(|part| part["description"].is_null()), "{key} has two descriptions");
        }
    }
}
