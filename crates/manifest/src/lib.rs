//! crm-manifest: reads and edits Kubernetes manifests as kubectl reads them.
//!
//! Use it for a tool that points at places in manifests or changes them: a linter, a formatter, a language server.
//!
//! - [`read`] finds the files below some paths, without those that a [`Walk`] leaves out, and reads them;
//!   [`documents()`] reads a text.
//! - A [`Document`] is a [`Tree`] in which every value knows its bytes in the text. Scalars, anchors, merge keys and
//!   JSON have the meaning that kubectl gives them. [`Text`] converts bytes to lines and columns.
//! - [`unfold()`] replaces a `List` by its items.
//! - [`Variables`] replaces `${NAME}` in a string, and [`reread()`] gives the result the type that Flux gives it.
//! - [`edit::edit`] changes strings and removes list entries, and leaves all other bytes as they are. It checks the
//!   result: the new text, read again, has the old values with exactly these changes.
//! - [`replace()`], [`create`] and [`put`] write a file atomically, and [`unified_diff`] shows a change.
//!
//! ```
//! use std::path::Path;
//!
//! use crm_manifest::edit::{Change, edit};
//! use crm_manifest::{Input, Step};
//!
//! let input = Input::new(Path::new("a.yaml"), "# mine\nspec: {name: 'ACME'} # here\n".to_owned());
//! let path = ["spec", "name"].map(|name| Step::Name(name.to_owned())).to_vec();
//!
//! let tree = &input.documents()[0].tree;
//! let found = tree.find(tree.root, &path);
//! assert_eq!(input.text().line_and_column(found.position), (2, 14));
//!
//! let edited = edit(&input, &[vec![Change { path, value: Some("acme".to_owned()) }]]);
//! assert_eq!(edited.text, "# mine\nspec: {name: 'acme'} # here\n");
//! ```
//!
//! Broken input never stops the rest: a document that cannot be read is an error with its place, and the documents
//! beside it are read. Sizes are limited: a file to 64 MiB, a document to 128 levels, and aliases to as many values as
//! kubectl accepts.
//!
//! *Architecture invariant:* it knows no kind, schema or rule, and no cluster.

mod aliases;
mod compose;
mod cut;
mod diff;
mod documents;
pub mod edit;
mod fault;
mod files;
mod grammar;
mod json;
mod replace;
mod scalar;
#[cfg(test)]
mod tests;
mod text;
mod tree;
mod unfold;
mod variables;
mod walk;

pub use diff::{replacements, unified_diff};
pub use documents::{Document, Syntax, SyntaxError, documents};
pub use files::{Input, Inputs, ReadError, STANDARD_INPUT, content, name, read, read_file, text};
pub use replace::{create, put, replace};
pub use text::Text;
pub use tree::{Content, Entry, Found, Layout, Node, NodeId, Overridden, Pointed, Step, Style, Tree};
pub use unfold::{NotAnObject, Object, unfold};
pub use variables::{Expansion, Holder, Part, Variables, has_variables, reread};
pub use walk::{BadGlob, EXTENSIONS, Ignored, KUSTOMIZATIONS, Walk, is_kustomization, is_manifest};
