//! stub
pub(super) fn unified(_name: &str, _old: &str, _new: &str) -> String {
    String::new()
}
