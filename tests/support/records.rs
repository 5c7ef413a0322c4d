//! Manifests of CRM records, as users write them.

/// A Company with this `spec`, in YAML's flow style.
pub(crate) fn company(name: &str, spec: &str) -> String {
    record("Company", &format!("{{name: {name}}}"), spec)
}

/// A Person with this `spec`, in YAML's flow style.
pub(crate) fn person(name: &str, spec: &str) -> String {
    record("Person", &format!("{{name: {name}}}"), spec)
}

/// A Note about a Person.
pub(crate) fn note_about(person: &str, name: &str) -> String {
    let spec = format!(
        "{{subjectRef: {{apiGroup: crm.milo.io, kind: Person, name: {person}}}, content: met at the fair}}"
    );
    record("Note", &format!("{{name: {name}}}"), &spec)
}

/// A Note about a Company.
pub(crate) fn note_on(company: &str, name: &str) -> String {
    let spec = format!(
        "{{subjectRef: {{apiGroup: crm.milo.io, kind: Company, name: {company}}}, content: called them}}"
    );
    record("Note", &format!("{{name: {name}}}"), &spec)
}

/// A record with this `metadata` and this `spec`, each in YAML's flow style.
pub(crate) fn record(kind: &str, metadata: &str, spec: &str) -> String {
    format!("apiVersion: crm.milo.io/v1alpha1\nkind: {kind}\nmetadata: {metadata}\nspec: {spec}\n")
}

/// Several documents in one file.
pub(crate) fn bundle<S: AsRef<str>>(documents: impl IntoIterator<Item = S>) -> String {
    documents.into_iter().map(|document| format!("---\n{}\n", document.as_ref())).collect()
}
