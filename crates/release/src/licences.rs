//! The licences of the crates in a program, with their texts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

/// What names of files with licences begin with, in lower case.
const NAMES: [&str; 5] = ["copying", "copyright", "licence", "license", "notice"];

/// A page with the crates that SBOMs list, by text. `metadata` is what `cargo metadata` prints, and says where they are.
///
/// # Errors
/// If a crate is not where the metadata says, or the metadata does not know it.
pub fn page(sboms: &[Value], metadata: &Value) -> anyhow::Result<String> {
    let directories = directories(metadata);
    let mut crates: BTreeMap<String, String> = BTreeMap::new();
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for component in sboms.iter().flat_map(|sbom| sbom["components"].as_array()).flatten() {
        // Only crates; our own have our licence.
        let Some(name) = crate_of(component).filter(|_| !is_own(component)) else { continue };
        let directory = directories.get(&name).with_context(|| format!("cargo does not know {name}"))?;
        let licence = component["licenses"][0]["expression"].as_str().unwrap_or("see its text");
        for text in texts_in(directory)? {
            texts.entry(text).or_default().insert(name.clone());
        }
        crates.insert(name, licence.to_owned());
    }
    anyhow::ensure!(!texts.is_empty(), "no licence was found");
    let mut page = "The crates in this program, with their licences as SPDX expressions:\n\n".to_owned();
    for (name, licence) in &crates {
        writeln!(page, "{name}: {licence}")?;
    }
    for (text, names) in &texts {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        write!(page, "\n{}\n{}\n\n{text}\n", "=".repeat(80), names.join(", "))?;
    }
    Ok(page)
}

/// The name and version of a component that is a crate.
fn crate_of(component: &Value) -> Option<String> {
    component["purl"].as_str().filter(|purl| purl.starts_with("pkg:cargo/"))?;
    Some(format!("{} {}", component["name"].as_str()?, component["version"].as_str()?))
}

fn is_own(component: &Value) -> bool {
    component["bom-ref"].as_str().is_some_and(|reference| reference.starts_with("path+"))
}

/// The directory of each crate, by name and version.
fn directories(metadata: &Value) -> BTreeMap<String, PathBuf> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let directory = |package: &Value| {
        let name = format!("{} {}", package["name"].as_str()?, package["version"].as_str()?);
        Some((name, Path::new(package["manifest_path"].as_str()?).parent()?.to_owned()))
    };
    packages.filter_map(directory).collect()
}

/// The texts of the files with licences in a directory. Some crates have none, but only name theirs.
fn texts_in(directory: &Path) -> anyhow::Result<Vec<String>> {
    let entries = std::fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    let mut texts = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if path.is_file() && NAMES.iter().any(|start| name.starts_with(start)) {
            let text = String::from_utf8_lossy(&crate::read(&path)?).replace('\r', "");
            texts.push(text.trim_matches('\n').to_owned());
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sbom() -> Value {
        let component = |reference: &str, name: &str| {
            json!({"bom-ref": reference, "name": name, "version": "1.0.0", "purl": format!("pkg:cargo/{name}@1.0.0"),
                "licenses": [{"expression": "MIT"}]})
        };
        json!({"components": [component("registry+x", "serde"), component("path+x", "ours"), {"name": "musl"}]})
    }

    #[test]
    fn crates_are_listed_with_their_texts() {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in
            [("LICENSE-MIT", "Permission is granted\n"), ("Cargo.toml", "secret"), ("NOTICE", "Notice")]
        {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let manifest = directory.path().join("Cargo.toml");
        let metadata =
            json!({"packages": [{"name": "serde", "version": "1.0.0", "manifest_path": manifest}]});
        let page = page(&[sbom()], &metadata).unwrap();
        for part in ["\nserde 1.0.0: MIT\n", "\nserde 1.0.0\n\nPermission is granted\n", "\nNotice\n"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("secret") && !page.contains("ours") && !page.contains("musl"), "{page}");
    }

    #[test]
    fn an_unknown_crate_is_an_error() {
        let error = page(&[sbom()], &json!({"packages": []})).unwrap_err();
        assert_eq!(error.to_string(), "cargo does not know serde 1.0.0");
    }
}
