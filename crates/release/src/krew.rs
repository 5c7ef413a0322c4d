//! The manifest for Krew, with which the program is a plugin of kubectl: `kubectl crm-admission`.

use serde_json::json;

use crate::{Architecture, DESCRIPTION, NAME, Release, sha256};

/// The manifest, as YAML that is JSON.
///
/// # Errors
/// If it cannot be written as YAML.
pub fn manifest(release: &Release, archives: &[(Architecture, String, Vec<u8>)]) -> anyhow::Result<String> {
    let platforms: Vec<_> = archives
        .iter()
        .map(|(architecture, name, content)| {
            let directory = name.trim_end_matches(".tar.gz");
            json!({
                "selector": {"matchLabels": {"os": "linux", "arch": architecture.name()}},
                "uri": format!("{}/{name}", release.downloads.trim_end_matches('/')),
                "sha256": sha256(content),
                "bin": NAME,
                "files": [
                    {"from": format!("{directory}/{NAME}"), "to": "."},
                    {"from": format!("{directory}/LICENSE"), "to": "."},
                ],
            })
        })
        .collect();
    let mut manifest = json!({
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": NAME},
        "spec": {
            "version": format!("v{}", release.version),
            "shortDescription": "Check and audit CRM records",
            "description": format!(
                "{DESCRIPTION}, and commands for its users: `check` judges files as the webhook does, `audit` judges \
                 what a cluster stores, `refs` lists references, and `doctor` finds out why an installation does not \
                 work.\n"
            ),
            "platforms": platforms,
        },
    });
    if let Some(source) = &release.source {
        manifest["spec"]["homepage"] = json!(source);
    }
    Ok(serde_saphyr::to_string(&manifest)?)
}
