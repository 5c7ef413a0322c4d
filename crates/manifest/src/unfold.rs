//! Replaces a `List` by its items, as kubectl does.

use serde_json::Value;

use crate::documents::Document;
use crate::tree::{Content, NodeId, Step, Tree};

/// One object of a document.
#[derive(Clone, Debug)]
pub struct Object {
    /// The node of the object.
    pub root: NodeId,
    /// The path from the root of the document to the object; empty if the object is the whole document.
    pub place: Vec<Step>,
    /// Its value, with aliases and merge keys expanded. An item without kind and version has those of its list.
    pub value: Value,
}

/// A part of a document that should be an object but is not. kubectl rejects it before it sends anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAnObject {
    /// The byte in the text.
    pub at: usize,
    /// The problem.
    pub message: &'static str,
}

/// The objects of a document, in order. A list of any kind (`List`, `CompanyList`) is replaced by its items, and so are
/// lists in lists. An empty document has none.
pub fn unfold(document: &Document) -> (Vec<Object>, Vec<NotAnObject>) {
    let tree = &document.tree;
    let mut unfolding = Unfolding { tree, objects: Vec::new(), errors: Vec::new() };
    if !tree.is_null(tree.root) {
        unfolding.unfold(tree.root, Vec::new(), None);
    }
    (unfolding.objects, unfolding.errors)
}

struct Unfolding<'d> {
    tree: &'d Tree,
    objects: Vec<Object>,
    errors: Vec<NotAnObject>,
}

/// A list, and the kind and version of items that have neither.
struct List<'d> {
    items: &'d [NodeId],
    api_version: Value,
    kind: Value,
}

impl<'d> Unfolding<'d> {
    fn unfold(&mut self, root: NodeId, place: Vec<Step>, list: Option<&List<'d>>) {
        let tree = self.tree;
        if !matches!(tree.node(tree.resolve(root)).content, Content::Mapping { .. }) {
            return self.error(&place, "no object: a manifest is a map with apiVersion and kind");
        }
        let items_of = |place: &[Step]| [place, &[Step::Name("items".to_owned())]].concat();
        match List::at(tree, root) {
            Some(Ok(list)) => {
                for (index, item) in list.items.iter().enumerate() {
                    let mut item_place = items_of(&place);
                    item_place.push(Step::Index(index));
                    self.unfold(*item, item_place, Some(&list));
                }
                return;
            }
            Some(Err(message)) => return self.error(&items_of(&place), message),
            None => {}
        }
        let mut value = tree.value(root);
        if let Some(list) = list {
            list.complete(&mut value);
            if is_empty(&value["kind"]) {
                return self.error(&place, "no kind: an item of a List needs apiVersion and kind");
            }
        }
        self.objects.push(Object { root, place, value });
    }

    fn error(&mut self, place: &[Step], message: &'static str) {
        let at = self.tree.find(self.tree.root, place).position;
        self.errors.push(NotAnObject { at, message });
    }
}

impl<'d> List<'d> {
    /// The list at a node, if its kind ends in `List` and it has items.
    fn at(tree: &'d Tree, root: NodeId) -> Option<Result<Self, &'static str>> {
        let field = |name: &str| tree.find(root, &[Step::Name(name.to_owned())]).node;
        let Value::String(kind) = tree.value(field("kind")?) else {
            return None;
        };
        let of_items = kind.strip_suffix("List")?;
        let items = field("items")?;
        let items = match &tree.node(tree.resolve(items)).content {
            Content::Sequence { entries, .. } => entries.as_slice(),
            Content::Scalar { value: Value::Null, .. } => &[],
            _ => return Some(Err("the items of a list must be a list")),
        };
        let api_version = field("apiVersion").map(|node| tree.value(node)).unwrap_or_default();
        Some(Ok(Self { items, api_version, kind: Value::String(of_items.to_owned()) }))
    }

    /// Gives an item without kind and version those of its list.
    fn complete(&self, item: &mut Value) {
        let has_neither = is_empty(&item["kind"]) && is_empty(&item["apiVersion"]);
        if has_neither && !is_empty(&self.kind) {
            item["kind"] = self.kind.clone();
            item["apiVersion"] = self.api_version.clone();
        }
    }
}

fn is_empty(string: &Value) -> bool {
    string.is_null() || string == ""
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::documents::{Syntax, parse};
    use crate::text::Text;

    fn unfolded(text: &str) -> (Vec<Value>, Vec<(usize, &'static str)>) {
        let parsed = parse(&Text::new(text.to_owned()), Syntax::Yaml);
        let (objects, errors) = unfold(&parsed.documents[0]);
        (
            objects.into_iter().map(|object| object.value).collect(),
            errors.into_iter().map(|error| (error.at, error.message)).collect(),
        )
    }

    #[test]
    fn lists_in_lists_are_replaced_by_their_items() {
        let text = "kind: List\nitems:\n- {kind: A}\n- {kind: BList, apiVersion: b/v1, items: [{x: 1}, {kind: C}]}\n";
        let expected =
            [json!({"kind": "A"}), json!({"kind": "B", "apiVersion": "b/v1", "x": 1}), json!({"kind": "C"})];
        assert_eq!(unfolded(text), (expected.to_vec(), vec![]));
    }

    #[test]
    fn an_object_whose_kind_ends_in_list_without_items_is_itself() {
        assert_eq!(unfolded("kind: WishList\n").0, [json!({"kind": "WishList"})]);
        assert_eq!(unfolded("kind: WishList\nitems:\n"), (vec![], vec![]));
    }

    #[test]
    fn an_item_without_a_kind_is_an_error_and_the_others_are_read() {
        let (objects, errors) = unfolded("kind: List\nitems:\n- apiVersion: v1\n- kind: A\n");
        assert_eq!(objects, [json!({"kind": "A"})]);
        assert_eq!(errors, [(20, "no kind: an item of a List needs apiVersion and kind")]);
    }

    #[test]
    fn an_item_that_is_not_a_map_is_an_error_at_its_place() {
        let (objects, errors) = unfolded("kind: List\nitems: [1, {kind: A}]\n");
        assert_eq!(objects, [json!({"kind": "A"})]);
        assert_eq!(errors, [(19, "no object: a manifest is a map with apiVersion and kind")]);
        assert_eq!(unfolded("kind: List\nitems: 1\n").1, [(18, "the items of a list must be a list")]);
        assert_eq!(unfolded("- a\n").1.len(), 1);
    }
}
