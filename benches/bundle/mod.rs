//! The files that the benchmarks of `check` and of the language server read.

use std::fmt::Write;
use std::fs;
use std::path::Path;

/// The number of records in each file.
pub(crate) const DOCUMENTS_IN_A_FILE: usize = 5;

/// Writes so many files into a new directory.
pub(crate) fn write_bundle(directory: &Path, files: usize) {
    fs::create_dir(directory).unwrap();
    for file in 0..files {
        let mut text = String::from("# Records as people write them.\n");
        for document in 0..DOCUMENTS_IN_A_FILE {
            let index = file * DOCUMENTS_IN_A_FILE + document;
            let metadata =
                format!("metadata:\n  name: record-{index}\n  labels:\n    crm.milo.io/source: referral\n");
            let api = "---\napiVersion: crm.milo.io/v1alpha1\n";
            let _ = match document {
                0 | 1 => writeln!(
                    text,
                    "{api}kind: Company\n{metadata}spec:\n  displayName: Company {index}\n  description: >-\n    Makes things, and\n    sells them.\n  domains:\n  - HTTPS://Company-{index}.example/ # as pasted\n  - company-{index}.example.com\n  linkedinProfile: uk.linkedin.com/company/company-{index}/about/"
                ),
                2 | 3 => writeln!(
                    text,
                    "{api}kind: Person\n{metadata}spec:\n  displayName: Person {index}\n  jobTitle: \"Engineer\"\n  linkedinProfile: https://linkedin.com/in/person-{index}\n  companyRef:\n    name: record-{}",
                    file * DOCUMENTS_IN_A_FILE
                ),
                _ => writeln!(
                    text,
                    "{api}kind: Note\n{metadata}spec:\n  subjectRef:\n    apiGroup: crm.milo.io\n    kind: Person\n    name: record-{}\n  content: |\n    Met at the fair.\n    Wants a quote.",
                    index - 1
                ),
            };
        }
        fs::write(directory.join(format!("f{file:05}.yaml")), text).unwrap();
    }
}
