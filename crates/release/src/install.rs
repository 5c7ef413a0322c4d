//! Manifests for an installation without a clone: one file to apply, and one to delete.

use anyhow::Context;

use crate::{NAME, Release};

/// What `kubectl apply -f` and `kubectl delete -f` take.
#[derive(Debug)]
pub struct Manifests {
    /// The definitions of our kinds, and then the installation.
    pub install: String,
    /// The installation without the definitions, in the opposite order.
    pub uninstall: String,
}

impl Manifests {
    /// Makes the files from what kustomize printed for an overlay.
    ///
    /// # Errors
    /// If the rendered overlay does not have the image of this version.
    pub fn new(
        overlay: &str,
        rendered: &str,
        crds: &[String],
        digest: &str,
        release: &Release,
    ) -> anyhow::Result<Self> {
        let image = format!("image: {NAME}:{}\n", release.version);
        let replaced =
            rendered.replace(&image, &format!("image: {}:{}@{digest}\n", release.image, release.version));
        anyhow::ensure!(replaced != rendered, "the overlay {overlay} does not have the {image}");
        let mut objects: Vec<&str> = replaced.split("\n---\n").map(str::trim).collect();
        objects.sort_by_key(|object| rank(object));
        let head = format!("# {NAME} {}, overlay {overlay}.", release.version);
        let crds = crds.iter().map(String::as_str).map(str::trim);
        let install: Vec<&str> = crds.chain(objects.iter().copied()).collect();
        objects.reverse();
        Ok(Self {
            install: format!(
                "{head} Install or upgrade with `kubectl apply -f`.\n\
                 # Until the pods of a new installation are ready, the API server denies writes of CRM records.\n\
                 # `kubectl delete -f` of this file deletes ALL records: use uninstall-{overlay}.yaml.\n{}\n",
                install.join("\n---\n")
            ),
            uninstall: format!(
                "{head} For `kubectl delete -f`, which keeps all records.\n{}\n",
                objects.join("\n---\n")
            ),
        })
    }
}

/// The order in which objects are applied; they are deleted in the reverse order. The guard comes before the permission
/// that it limits. The registration comes last, because without a running server it blocks every write of a record.
fn rank(object: &str) -> u8 {
    let has_line = |is: fn(&str) -> bool| object.lines().any(is);
    if has_line(|line| line.trim() == "app.kubernetes.io/component: guard") {
        0
    } else if has_line(|line| line.starts_with("kind: ") && line.ends_with("WebhookConfiguration")) {
        2
    } else {
        1
    }
}

/// Reads the definitions of our kinds as they are in the repository.
///
/// # Errors
/// If one cannot be read.
pub fn crds(directory: &std::path::Path) -> anyhow::Result<Vec<String>> {
    let files = crate::archive::below(directory, "")?;
    let mut files: Vec<(String, Vec<u8>)> = files.into_iter().map(|file| (file.path, file.content)).collect();
    files.sort();
    files.into_iter().map(|(path, content)| String::from_utf8(content).context(path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RENDERED: &str = "kind: MutatingWebhookConfiguration\n---\nkind: Deployment\nimage: crm-admission:0.2.0\n---\n\
                            labels:\n  app.kubernetes.io/component: guard\n";

    fn manifests(rendered: &str) -> anyhow::Result<Manifests> {
        let release = Release {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            revision: String::new(),
            time: 0,
            image: "registry.example.com/crm".to_owned(),
            downloads: String::new(),
            source: None,
        };
        Manifests::new(
            "self-managed",
            rendered,
            &["kind: CustomResourceDefinition\n".to_owned()],
            "sha256:1",
            &release,
        )
    }

    #[test]
    fn kinds_come_first_then_the_guard_and_the_registration_last() {
        let manifests = manifests(RENDERED).unwrap();
        let body: String = manifests
            .install
            .lines()
            .skip_while(|line| line.starts_with("# "))
            .map(|line| format!("{line}\n"))
            .collect();
        assert_eq!(
            body,
            concat!(
                "kind: CustomResourceDefinition\n---\nlabels:\n  app.kubernetes.io/component: guard\n---\n",
                "kind: Deployment\nimage: registry.example.com/crm:",
                env!("CARGO_PKG_VERSION"),
                "@sha256:1\n---\nkind: MutatingWebhookConfiguration\n"
            )
        );
    }

    #[test]
    fn uninstalling_keeps_the_kinds_and_removes_the_registration_first() {
        let uninstall = manifests(RENDERED).unwrap().uninstall;
        assert!(!uninstall.contains("CustomResourceDefinition"));
        assert!(uninstall.lines().nth(1).unwrap().contains("MutatingWebhookConfiguration"));
        assert!(uninstall.ends_with("component: guard\n"), "{uninstall}");
    }

    #[test]
    fn an_overlay_with_another_image_is_refused() {
        let error = manifests("kind: Deployment\nimage: other:1\n").unwrap_err();
        assert!(error.to_string().contains("does not have the image: crm-admission:0.2.0"), "{error}");
    }
}
