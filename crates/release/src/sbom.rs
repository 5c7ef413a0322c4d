//! CycloneDX SBOMs of programs, of the image and of the chart.
//!
//! cargo-cyclonedx lists the crates of a program. It knows neither the file nor what the toolchain links, and writes the
//! directory of the source. This adds and replaces that.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use serde_json::{Value, json};

use crate::archive::File;
use crate::{Architecture, LICENCE, NAME, Release, sha256};

/// The media type of an SBOM.
pub const MEDIA_TYPE: &str = "application/vnd.cyclonedx+json";

/// The SBOM of a program, from what cargo-cyclonedx wrote in the directory `root`.
///
/// # Errors
/// If that is not what cargo-cyclonedx writes.
pub fn of_program(
    written: &str,
    root: &str,
    toolchain: &Toolchain,
    (architecture, program): (Architecture, &[u8]),
    release: &Release,
) -> anyhow::Result<Value> {
    // References to our own crates, in which a space is written as in an address.
    let own_crates = format!("path+file://{}", root.replace(' ', "%20"));
    let written = written.replace(&own_crates, "path+file:///source");
    let mut sbom: Value = serde_json::from_str(&written).context("not JSON")?;
    sbom["metadata"]["timestamp"] = json!(release.created()?);
    let component = &mut sbom["metadata"]["component"];
    component["name"] = json!(format!("{NAME}-linux-{}", architecture.name()));
    component["hashes"] = hashes(program);
    let own = component["bom-ref"].as_str().context("the program has no bom-ref")?.to_owned();
    if let Some(parts) = component.as_object_mut() {
        // The targets of the package, such as its library, which are no part of a release by themselves.
        parts.remove("components");
    }
    let linked = toolchain.components();
    let references: Vec<Value> = linked.iter().map(|component| component["bom-ref"].clone()).collect();
    let components = sbom["components"].as_array_mut().context("no components")?;
    components.extend(linked);
    let dependencies = sbom["dependencies"].as_array_mut().context("no dependencies")?;
    for dependency in dependencies.iter_mut().filter(|dependency| dependency["ref"] == own.as_str()) {
        dependency["dependsOn"]
            .as_array_mut()
            .context("no dependencies of the program")?
            .extend(references.clone());
    }
    Ok(with_serial_number(sbom))
}

/// What the toolchain links to a static program.
#[derive(Clone, Debug, clap::Args)]
pub struct Toolchain {
    /// The version of Rust, and of its standard library.
    #[arg(long)]
    pub rust: String,
}

impl Toolchain {
    fn components(&self) -> [Value; 2] {
        let library = |name: &str, licence: &str| {
            json!({"type": "library", "name": name, "bom-ref": name,
            "licenses": [{"expression": licence}], "scope": "required"})
        };
        let mut standard = library("rust-standard-library", "MIT OR Apache-2.0");
        standard["version"] = json!(self.rust);
        let mut musl = library("musl", "MIT");
        musl["description"] = json!(format!("The C library that comes with Rust {}", self.rust));
        [standard, musl]
    }
}

/// The SBOM of the image, from those of its programs.
///
/// # Errors
/// If the time of the release is not one.
pub fn of_image(digest: &str, programs: &[Value], release: &Release) -> anyhow::Result<Value> {
    let mut components = BTreeMap::new();
    let mut dependencies: BTreeMap<String, (Value, BTreeSet<String>)> = BTreeMap::new();
    let mut own = Vec::new();
    for program in programs {
        let mut component = program["metadata"]["component"].clone();
        let shared = component["bom-ref"].clone();
        let reference = component["name"].clone();
        component["bom-ref"] = reference.clone();
        own.push(reference.clone());
        components.insert(reference.to_string(), component);
        for component in program["components"].as_array().into_iter().flatten() {
            components.insert(component["bom-ref"].to_string(), component.clone());
        }
        for dependency in program["dependencies"].as_array().into_iter().flatten() {
            let of = if dependency["ref"] == shared { &reference } else { &dependency["ref"] };
            // A crate may depend on more for one architecture than for another.
            let (_, all) =
                dependencies.entry(of.to_string()).or_insert_with(|| (of.clone(), BTreeSet::new()));
            let on = dependency["dependsOn"].as_array().into_iter().flatten().filter_map(Value::as_str);
            all.extend(on.map(str::to_owned));
        }
    }
    let subject = image(digest, release);
    let root = json!({"ref": subject["bom-ref"], "dependsOn": own});
    let dependencies = dependencies.into_values().map(|(of, on)| json!({"ref": of, "dependsOn": on}));
    let dependencies: Vec<Value> = std::iter::once(root).chain(dependencies).collect();
    sbom(subject, components.into_values().collect(), dependencies, release)
}

/// The SBOM of the chart, which runs the image.
///
/// # Errors
/// If the time of the release is not one.
pub fn of_chart(package: &[u8], digest: &str, release: &Release) -> anyhow::Result<Value> {
    let reference = format!("pkg:helm/{NAME}@{}", release.version);
    let chart = json!({
        "type": "application", "name": format!("{NAME}-chart"), "version": release.version, "bom-ref": reference,
        "purl": reference, "licenses": [{"expression": LICENCE}], "hashes": hashes(package),
    });
    let image = image(digest, release);
    let dependencies =
        vec![json!({"ref": reference, "dependsOn": [image["bom-ref"]]}), json!({"ref": image["bom-ref"]})];
    sbom(chart, vec![image], dependencies, release)
}

/// An SBOM as a file.
#[must_use]
pub fn file(name: &str, sbom: &Value) -> File {
    File::data(format!("{name}.cdx.json"), format!("{sbom:#}\n"))
}

fn image(digest: &str, release: &Release) -> Value {
    let purl = format!("pkg:oci/{NAME}@{}?tag={}", digest.replace(':', "%3A"), release.version);
    json!({
        "type": "container", "name": release.image, "version": release.version, "bom-ref": purl, "purl": purl,
        "licenses": [{"expression": LICENCE}],
    })
}

fn hashes(bytes: &[u8]) -> Value {
    json!([{"alg": "SHA-256", "content": sha256(bytes)}])
}

fn sbom(
    subject: Value,
    components: Vec<Value>,
    dependencies: Vec<Value>,
    release: &Release,
) -> anyhow::Result<Value> {
    Ok(with_serial_number(json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"timestamp": release.created()?, "component": subject},
        "components": components, "dependencies": dependencies,
    })))
}

/// A serial number that depends only on the content, as a UUID of version 8.
fn with_serial_number(mut sbom: Value) -> Value {
    if let Some(parts) = sbom.as_object_mut() {
        parts.remove("serialNumber");
    }
    let digest = sha256(sbom.to_string().as_bytes());
    let part = |range: std::ops::Range<usize>| digest.get(range).unwrap_or_default();
    let (head, middle) = (part(0..8), part(8..12));
    sbom["serialNumber"] =
        json!(format!("urn:uuid:{head}-{middle}-8{}-8{}-{}", part(13..16), part(17..20), part(20..32)));
    sbom
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_depends_on_what_the_program_of_any_architecture_depends_on() {
        let program = |architecture: &str, on: &[&str]| {
            json!({
                "metadata": {"component": {"bom-ref": "program", "name": format!("program-{architecture}")}},
                "components": [{"bom-ref": "encoding"}],
                "dependencies": [
                    {"ref": "program", "dependsOn": ["encoding"]},
                    {"ref": "encoding", "dependsOn": on},
                ],
            })
        };
        let release = Release {
            version: "1.2.3".to_owned(),
            revision: String::new(),
            time: 0,
            image: "registry.example.com/crm".to_owned(),
            downloads: String::new(),
            source: None,
        };
        let programs = [program("amd64", &["detect"]), program("arm64", &["simd"])];
        let sbom = of_image("sha256:1", &programs, &release).unwrap();
        let of = |name: &str| {
            let all = sbom["dependencies"].as_array().unwrap();
            all.iter().find(|dependency| dependency["ref"] == name).unwrap()["dependsOn"].clone()
        };
        assert_eq!(of("encoding"), json!(["detect", "simd"]));
        assert_eq!(of("program-amd64"), json!(["encoding"]));
        assert_eq!(of("program-arm64"), json!(["encoding"]));
    }
}
