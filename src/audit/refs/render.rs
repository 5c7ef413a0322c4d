//! Writes references as a table, as JSON, and as a graph for Graphviz.

use std::collections::BTreeMap;

use crm_check::report::pretty;
use crm_core::characters::printable;
use crm_core::existence::Fact;
use serde_json::{Value, json};

use super::{Edge, Relations};

/// The format of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people, in columns.
    #[default]
    Table,
    /// For programs.
    Json,
    /// For Graphviz.
    Dot,
}

/// One record's references and dependents.
pub fn relations(relations: &Relations, format: Format) -> String {
    match format {
        Format::Table => table_of(relations),
        Format::Json => pretty(&json!({
            "record": {
                "kind": relations.kind.label(),
                "name": relations.name,
                "state": relations.fact.as_str(),
            },
            "refersTo": relations.to.iter().map(target_json).collect::<Vec<_>>(),
            "referredToBy": relations.from.iter().map(|(kind, name, field)| {
                json!({"kind": kind.label(), "name": name, "field": field})
            }).collect::<Vec<_>>(),
        })),
        Format::Dot => {
            let mut graph = Graph::default();
            let own = format!("{}/{}", relations.kind.label(), relations.name);
            graph.node(&own, relations.fact.clone());
            for edge in &relations.to {
                graph.edge(&own, edge);
            }
            for (kind, name, field) in &relations.from {
                let from = format!("{}/{name}", kind.label());
                graph.node(&from, Fact::Exists);
                graph.arrow(&from, &own, field);
            }
            graph.render()
        }
    }
}

/// References to missing objects.
pub fn dangling(edges: &[Edge], format: Format) -> String {
    match format {
        Format::Table if edges.is_empty() => "no references to missing objects\n".to_owned(),
        Format::Table => {
            let row = |edge: &Edge| {
                let from = format!("{}/{}", edge.kind.label(), edge.name);
                [from, edge.link.field.clone(), target(edge), edge.fact.as_str().to_owned()]
            };
            table(["RECORD", "FIELD", "REFERS TO", "STATE"], edges.iter().map(row).collect())
        }
        Format::Json => {
            let edge = |edge: &Edge| {
                let mut value = target_json(edge);
                value["from"] = json!({"kind": edge.kind.label(), "name": edge.name});
                value
            };
            pretty(&json!({"dangling": edges.iter().map(edge).collect::<Vec<_>>()}))
        }
        Format::Dot => {
            let mut graph = Graph::default();
            for edge in edges {
                let from = format!("{}/{}", edge.kind.label(), edge.name);
                graph.node(&from, Fact::Exists);
                graph.edge(&from, edge);
            }
            graph.render()
        }
    }
}

fn table_of(relations: &Relations) -> String {
    let own = format!("{}/{}", relations.kind.label(), printable(&relations.name));
    let mut text = format!("{own}: {}\n", relations.fact.as_str());
    let to = relations.to.iter().map(|edge| {
        ["refers to".to_owned(), target(edge), edge.link.field.clone(), edge.fact.as_str().to_owned()]
    });
    let from = relations.from.iter().map(|(kind, name, field)| {
        let from = format!("{}/{name}", kind.label());
        ["referred to by".to_owned(), from, (*field).to_owned(), Fact::Exists.as_str().to_owned()]
    });
    let rows: Vec<_> = to.chain(from).collect();
    if !rows.is_empty() {
        text.push('\n');
        text += &table(["", "OBJECT", "FIELD", "STATE"], rows);
    }
    text
}

/// Columns in the style of kubectl.
fn table(head: [&str; 4], rows: Vec<[String; 4]>) -> String {
    let head = head.map(str::to_owned);
    let rows: Vec<[String; 4]> =
        std::iter::once(head).chain(rows).map(|row| row.map(|cell| printable(&cell))).collect();
    let mut widths = [0; 4];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            line += &format!("{cell:width$}   ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn target(edge: &Edge) -> String {
    match &edge.link.namespace {
        Some(namespace) => format!("{}/{namespace}/{}", edge.link.kind, edge.link.name),
        None => format!("{}/{}", edge.link.kind, edge.link.name),
    }
}

fn target_json(edge: &Edge) -> Value {
    json!({
        "field": edge.link.field,
        "kind": edge.link.kind,
        "namespace": edge.link.namespace,
        "name": edge.link.name,
        "state": edge.fact.as_str(),
    })
}

/// A graph while it is built.
#[derive(Debug, Default)]
struct Graph {
    nodes: BTreeMap<String, Fact>,
    arrows: Vec<String>,
}

impl Graph {
    fn node(&mut self, name: &str, fact: Fact) {
        self.nodes.entry(name.to_owned()).or_insert(fact);
    }

    fn edge(&mut self, from: &str, edge: &Edge) {
        let to = target(edge);
        self.node(&to, edge.fact.clone());
        self.arrow(from, &to, &edge.link.field);
    }

    fn arrow(&mut self, from: &str, to: &str, field: &str) {
        let label = field.trim_start_matches("spec.").trim_end_matches(".name");
        self.arrows.push(format!("  {} -> {} [label={}];\n", id(from), id(to), id(label)));
    }

    fn render(&self) -> String {
        let mut text = "digraph references {\n  rankdir=LR;\n  node [shape=box];\n".to_owned();
        for (name, fact) in &self.nodes {
            let style = match fact {
                Fact::Exists => "",
                Fact::Missing { .. } => " [color=red, style=dashed]",
                Fact::Terminating => " [color=orange, style=dashed]",
                Fact::Unresolved { .. } | Fact::Unchecked => " [style=dotted]",
            };
            text += &format!("  {}{style};\n", id(name));
        }
        text + &self.arrows.concat() + "}\n"
    }
}

/// A quoted identifier of the DOT language. Only quotes and backslashes need escapes.
fn id(text: &str) -> String {
    let text = printable(text).replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use crm_core::api::CrmKind;
    use crm_core::links::LinkValue;

    use super::*;

    fn edge(name: &str, fact: Fact) -> Edge {
        let link = LinkValue {
            field: "spec.companyRef.name".to_owned(),
            kind: "Company".to_owned(),
            namespace: None,
            name: name.to_owned(),
            target: None,
        };
        Edge { kind: CrmKind::Person, name: "ada".to_owned(), link, fact }
    }

    #[test]
    fn a_dangling_reference_is_a_row_with_its_target() {
        let text = dangling(&[edge("acme-crop", Fact::Missing { suggestion: None })], Format::Table);
        assert_eq!(
            text,
            "RECORD       FIELD                  REFERS TO           STATE\n\
             Person/ada   spec.companyRef.name   Company/acme-crop   missing\n"
        );
    }

    #[test]
    fn a_graph_marks_missing_objects_and_escapes_names() {
        let text = dangling(&[edge("a\"]; x", Fact::Missing { suggestion: None })], Format::Dot);
        assert_eq!(
            text,
            "digraph references {\n  rankdir=LR;\n  node [shape=box];\n  \
             \"Company/a\\\"]; x\" [color=red, style=dashed];\n  \"Person/ada\";\n  \
             \"Person/ada\" -> \"Company/a\\\"]; x\" [label=\"companyRef\"];\n}\n"
        );
    }
}
