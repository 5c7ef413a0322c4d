//! Reads what kustomize has rendered: objects, each with where it comes from.

use std::path::{Path, PathBuf};

use crm_manifest::{Input, documents, unfold};
use serde_json::Value;

use super::paths::normalized;

/// Where an object comes from. kustomize writes it with `buildMetadata: [originAnnotations]`.
const ORIGIN: &str = "config.kubernetes.io/origin";

/// One object of a build.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rendered {
    /// The object, without the annotation.
    pub(crate) value: Value,
    pub(crate) origin: Option<Origin>,
}

/// Where an object of a build comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    /// A file with the object.
    File(PathBuf),
    /// A file that configures a generator.
    Generator(PathBuf),
}

/// The objects of a build, or why its output cannot be read. Their origins are relative to `base`.
pub(crate) fn rendered(output: &str, base: &Path) -> Result<Vec<Rendered>, String> {
    let output = Input::new(Path::new("output.yaml"), output.to_owned());
    if let Some(fault) = output.errors().first() {
        return Err(format!("the output of the build cannot be read: {fault}"));
    }
    let mut objects = Vec::new();
    for document in output.documents() {
        let (unfolded, faults) = unfold(document);
        if let Some(fault) = faults.first() {
            return Err(format!("the output of the build cannot be read: {}", fault.message));
        }
        objects.extend(unfolded.into_iter().map(|object| Rendered::new(object.value, base)));
    }
    Ok(objects)
}

impl Rendered {
    fn new(mut value: Value, base: &Path) -> Self {
        let origin = take_origin(&mut value).and_then(|text| origin(&text, base));
        Self { value, origin }
    }
}

/// Removes the annotation, and the map of annotations if it has no other.
fn take_origin(object: &mut Value) -> Option<String> {
    let metadata = object.get_mut("metadata")?.as_object_mut()?;
    let annotations = metadata.get_mut("annotations")?.as_object_mut()?;
    let origin = annotations.remove(ORIGIN);
    if annotations.is_empty() {
        metadata.remove("annotations");
    }
    origin?.as_str().map(str::to_owned)
}

fn origin(text: &str, base: &Path) -> Option<Origin> {
    let (_, origin) = documents(text).ok()?.into_iter().next()?;
    // The base need not exist any more.
    let path = |key: &str| origin[key].as_str().map(|path| normalized(&base.join(path)));
    path("path").map(Origin::File).or_else(|| path("configuredIn").map(Origin::Generator))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_annotation_is_read_and_removed() {
        let output = "kind: A\nmetadata:\n  name: a\n  annotations:\n    config.kubernetes.io/origin: |\n      path: ../r/a.yaml\n---\n\
                      kind: B\nmetadata:\n  annotations:\n    x: z\n    config.kubernetes.io/origin: |\n      configuredIn: k.yaml\n---\nkind: C\n";
        let [a, b, c] = rendered(output, Path::new("/t")).unwrap().try_into().unwrap();
        assert_eq!(a.value, json!({"kind": "A", "metadata": {"name": "a"}}));
        assert_eq!(a.origin, Some(Origin::File("/r/a.yaml".into())));
        assert_eq!(b.value, json!({"kind": "B", "metadata": {"annotations": {"x": "z"}}}));
        assert_eq!(b.origin, Some(Origin::Generator("/t/k.yaml".into())));
        assert_eq!((c.value, c.origin), (json!({"kind": "C"}), None));
    }

    #[test]
    fn an_annotation_that_says_nothing_is_no_origin() {
        for text in ["a", "repo: x", "[", ""] {
            let output = json!({"metadata": {"annotations": {ORIGIN: text}}}).to_string();
            assert_eq!(rendered(&output, Path::new("/")).unwrap()[0].origin, None, "{text}");
        }
    }

    #[test]
    fn output_that_is_no_manifest_is_an_error() {
        let said = rendered("a: [\n", Path::new("/")).unwrap_err();
        assert!(said.starts_with("the output of the build cannot be read: line 2, column 1: "), "{said}");
        let said = rendered("- a\n", Path::new("/")).unwrap_err();
        assert!(said.ends_with("no object: a manifest is a map with apiVersion and kind"), "{said}");
    }
}
