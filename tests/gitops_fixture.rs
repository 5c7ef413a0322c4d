//! A repository as GitOps teams have it (`tests/fixtures/gitops`), and the ten mistakes in it.

use std::fs;
use std::path::Path;

use crate::repository::Repository;

/// The mistakes in files that are applied as they are.
pub(crate) const PLAIN: [&str; 8] = [
    "crm/americas/companies.yaml:30:5 Warn spec.domains[0] [domain/not-canonical]",
    "crm/americas/companies.yaml:127:25 Warn metadata.labels[crm.milo.io/source] [label-value]",
    "crm/americas/people.yaml:53:16 Deny spec.displayName [display-name]",
    "crm/emea/notes.yaml:54:11 Deny spec.subjectRef.kind [subject-kind]",
    "crm/emea/people.yaml:36:11 Warn spec.companyRef.name [company-exists/unresolved]",
    "crm/partners/companies.yaml:79:5 Deny spec.domains[0] [domain/bad-char]",
    "crm/partners/companies.yaml:246:9 Warn metadata.name [schema/duplicate-object]",
    "rendered/demo.yaml:22:20 Deny spec.linkedinProfile [linkedin-profile/wrong-kind]",
];
/// The mistakes in files from which kustomize builds records.
pub(crate) const BUILT: [&str; 2] = [
    "apps/crm/base/companies.yaml:11:3 Deny spec.descripton [schema]",
    "apps/crm/overlays/production/visits.yaml:11:13 Deny spec.followUp [schema]",
];

/// A copy of the fixture in a work tree of git. The files that git would treat specially in our repository have their
/// names only in the copy.
pub(crate) fn fixture() -> Repository {
    let repository = Repository::with(&[(".git/HEAD", "ref: refs/heads/main\n")]);
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gitops"), repository.path());
    for (name, real) in [("gitignore", ".gitignore"), ("crm-admission.yaml", ".crm-admission.yaml")] {
        fs::rename(repository.path().join(name), repository.path().join(real)).unwrap();
    }
    repository
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
