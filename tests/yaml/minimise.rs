//! Makes a text smaller for as long as it has a property.

/// The smallest text that removing parts leads to. `keeps` says whether a text still has the property.
pub(crate) fn minimised(text: &str, mut keeps: impl FnMut(&str) -> bool) -> String {
    let mut pieces: Vec<&str> = text.split_inclusive('\n').collect();
    let joined = shrunk(&mut pieces, &mut keeps);
    let mut characters: Vec<&str> = joined.split("").filter(|character| !character.is_empty()).collect();
    shrunk(&mut characters, &mut keeps)
}

fn shrunk(pieces: &mut Vec<&str>, keeps: &mut impl FnMut(&str) -> bool) -> String {
    let mut size = pieces.len().div_ceil(2);
    while size > 0 {
        let mut start = 0;
        let mut is_smaller = false;
        while start < pieces.len() {
            let end = (start + size).min(pieces.len());
            let without = [&pieces[..start], &pieces[end..]].concat();
            if keeps(&without.concat()) {
                *pieces = without;
                is_smaller = true;
            } else {
                start = end;
            }
        }
        if !is_smaller || size > 1 {
            size /= 2;
        }
    }
    pieces.concat()
}
