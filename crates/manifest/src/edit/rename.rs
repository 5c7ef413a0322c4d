//! Changes the name of a field.

use serde_json::Value;

use super::change::Edited;
use super::verify::{at, has_values, values};
use crate::files::Input;
use crate::text::Text;
use crate::tree::Step;

/// The input with another key for the field at a path of a document. `None` if the map has that key already, or if other
/// values would change, too.
pub fn rename(input: &Input, document: usize, path: &[Step], key: &str) -> Option<Edited> {
    let tree = &input.documents().get(document)?.tree;
    let (Step::Name(old), map) = path.split_last()? else {
        return None;
    };
    let mut expected = values(input);
    let Some(Value::Object(fields)) = at(expected.get_mut(document)?, map) else {
        return None;
    };
    let value = fields.remove(old)?;
    if fields.insert(key.to_owned(), value).is_some() {
        return None;
    }
    let (entry, _) = tree.entry(tree.find(tree.root, map).node?, old)?;
    let written = input.text().as_str().get(entry.key_range.clone())?;
    let quote = written.chars().next().filter(|first| matches!(first, '"' | '\'')).map(String::from);
    let quote = quote.unwrap_or_default();
    let text = input.text().as_str();
    let (before, after) = (text.get(..entry.key_range.start)?, text.get(entry.key_range.end..)?);
    let text = Text::new(format!("{before}{quote}{key}{quote}{after}"));
    has_values(input, &text, &expected).then(|| Edited { text: text.into_string(), count: 1 })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn renamed(name: &str, text: &str) -> Option<String> {
        let input = Input::new(Path::new(name), text.to_owned());
        let path = ["spec", "old"].map(|name| Step::Name(name.to_owned()));
        rename(&input, 0, &path, "new").map(|edited| edited.text)
    }

    #[test]
    fn a_key_keeps_its_quotes_and_its_value() {
        assert_eq!(renamed("a.yaml", "spec:\n  old: 1 # x\n").unwrap(), "spec:\n  new: 1 # x\n");
        assert_eq!(renamed("a.yaml", "spec: {'old': 1}\n").unwrap(), "spec: {'new': 1}\n");
        assert_eq!(renamed("a.json", "{\"spec\": {\"old\": 1}}").unwrap(), "{\"spec\": {\"new\": 1}}");
    }

    #[test]
    fn a_key_that_exists_or_is_shared_stays() {
        assert_eq!(renamed("a.yaml", "spec: {old: 1, new: 2}\n"), None);
        assert_eq!(renamed("a.yaml", "other: &a {old: 1}\nspec: *a\n"), None);
        assert_eq!(renamed("a.yaml", "spec: {other: 1}\n"), None);
    }
}
