//! Finds the existing name that a missing name was probably meant to be.

use std::ops::ControlFlow;

/// The maximum number of names that one search reads (measured: 35 ms of one core for a million), and of cells of
/// edit-distance tables that it fills, one per pair of letters of the compared names (27 ms). So a search takes 100 ms
/// at most. In a larger set, a similar name may be missed, and which one is found depends on the order of the set.
const MOST_READ: usize = 2_000_000;
const MOST_CELLS: usize = 10_000_000;

/// Shorter names get no suggestion: one edit makes another name of them.
const SHORTEST: usize = 3;

/// Where a longer name may continue: `acme` and `acme-corp`, but not `acme` and `acmeist`.
const BOUNDARIES: [u8; 2] = [b'-', b'.'];

/// A search for the most similar name, in this order:
///
/// 1. a name within two edits (one for names of less than six letters), an edit being a letter more, less or other,
///    or two neighbours swapped; the fewest edits first, then the first in the alphabet;
/// 2. the only name of which the wanted one is the beginning, cut at `-` or `.`: `acme` → `acme-corp`;
/// 3. the longest beginning of the wanted name that exists, cut likewise: `acme-corp-inc` → `acme-corp`.
///
/// Lengths are bytes, which equal letters in the names that Kubernetes allows.
pub(super) struct Search<'a> {
    prefix: Option<String>,
    wanted: &'a str,
    letters: u64,
    most_edits: usize,
    read: usize,
    cells: usize,
    best: Option<(usize, String)>,
    longer: Longer,
}

/// The names that start with the wanted one.
enum Longer {
    None,
    One(String),
    Many,
}

impl<'a> Search<'a> {
    pub(super) fn new(namespace: Option<&str>, wanted: &'a str) -> Self {
        Self {
            prefix: namespace.map(|namespace| format!("{namespace}/")),
            wanted,
            letters: letters(wanted),
            most_edits: (wanted.len() / 3).clamp(1, 2),
            read: 0,
            cells: 0,
            best: None,
            longer: Longer::None,
        }
    }

    /// Checks one name, given as `namespace/name` or `name`. `Break` means that no more are needed.
    pub(super) fn offer(&mut self, key: &str) -> ControlFlow<()> {
        if self.is_exhausted() || self.wanted.len() < SHORTEST {
            return ControlFlow::Break(());
        }
        // Compare the lengths first: they need no access to the string, which would be a cache miss.
        let prefix = self.prefix.as_deref();
        if key.len() + self.most_edits < prefix.map_or(0, str::len) + self.wanted.len() {
            return ControlFlow::Continue(());
        }
        self.read += 1;
        if let Some(name) = prefix.map_or(Some(key), |prefix| key.strip_prefix(prefix)) {
            self.consider_longer(name);
            self.consider_near(name);
        }
        ControlFlow::Continue(())
    }

    /// The result. `exists` checks the shorter names.
    pub(super) fn finish(self, exists: impl Fn(&str) -> bool) -> Option<String> {
        if self.wanted.len() < SHORTEST {
            return None;
        }
        // After an incomplete search, there may be more than one.
        let exhausted = self.is_exhausted();
        match (self.best, self.longer) {
            (Some((_, name)), _) => Some(name),
            (None, Longer::One(name)) if !exhausted => Some(name),
            _ => beginnings(self.wanted).find(|name| exists(name)).map(str::to_owned),
        }
    }

    fn is_exhausted(&self) -> bool {
        self.read >= MOST_READ || self.cells >= MOST_CELLS
    }

    fn consider_longer(&mut self, name: &str) {
        let goes_on = name.as_bytes().get(self.wanted.len()).is_some_and(|byte| BOUNDARIES.contains(byte));
        if goes_on && name.starts_with(self.wanted) {
            self.longer = match self.longer {
                Longer::None => Longer::One(name.to_owned()),
                Longer::One(_) | Longer::Many => Longer::Many,
            };
        }
    }

    fn consider_near(&mut self, name: &str) {
        // An edit changes the length by one at most, and the set of letters by two at most. These two comparisons save
        // the table for nearly all names.
        if name.len().abs_diff(self.wanted.len()) > self.most_edits
            || (letters(name) ^ self.letters).count_ones() as usize > 2 * self.most_edits
        {
            return;
        }
        self.cells += name.len() * self.wanted.len();
        let edits = strsim::damerau_levenshtein(name, self.wanted);
        let is_better = match &self.best {
            Some((fewest, first)) => (edits, name) < (*fewest, first.as_str()),
            None => true,
        };
        // No edits: the local copy does not know yet that the object is gone, so do not suggest it.
        if (1..=self.most_edits).contains(&edits) && is_better {
            self.best = Some((edits, name.to_owned()));
        }
    }
}

/// The set of letters as bits: `a`–`z`, `0`–`9`, `-` and `.` have bits of their own.
fn letters(name: &str) -> u64 {
    name.bytes().fold(0, |letters, byte| letters | 1 << (byte % 64))
}

/// The name without its last part, its last two parts, and so on.
fn beginnings(name: &str) -> impl Iterator<Item = &str> {
    let is_boundary = |(_, byte): &(usize, u8)| BOUNDARIES.contains(byte);
    let cuts = name.bytes().enumerate().filter(is_boundary).map(|(at, _)| at);
    cuts.rev().filter(|at| *at >= SHORTEST).map(|at| &name[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(wanted: &str, names: impl IntoIterator<Item = String>) -> Option<String> {
        let mut search = Search::new(None, wanted);
        let _ = names.into_iter().try_for_each(|name| search.offer(&name));
        search.finish(|_| false)
    }

    #[test]
    fn a_search_through_too_much_is_given_up() {
        // All of these have the letters of the wanted name, so each is worth a table.
        let wanted = "abcdefghij".repeat(20);
        let far = std::iter::repeat_n("jihgfedcba".repeat(20), MOST_CELLS / (200 * 200) + 1);
        let near = format!("{wanted}k");
        assert_eq!(search(&wanted, far.clone().take(9).chain([near.clone()])), Some(near.clone()));
        assert_eq!(search(&wanted, far.chain([near])), None);
    }

    #[test]
    fn what_was_found_before_giving_up_is_proposed() {
        let wanted = "abcdefghij".repeat(20);
        let far = std::iter::repeat_n("jihgfedcba".repeat(20), MOST_CELLS / (200 * 200) + 1);
        let near = format!("{wanted}k");
        assert_eq!(search(&wanted, [near.clone()].into_iter().chain(far)), Some(near));
    }

    #[test]
    fn letters_beyond_ascii_do_no_harm() {
        assert_eq!(search("josé", ["jose".to_owned()]), None);
        assert_eq!(search("josef-é", ["josef-è".to_owned()]).as_deref(), Some("josef-è"));
    }

    #[test]
    fn beginnings_are_cut_at_boundaries_and_not_too_short() {
        assert_eq!(beginnings("ab-acme.corp-inc").collect::<Vec<_>>(), ["ab-acme.corp", "ab-acme"]);
        assert_eq!(beginnings("acme").count(), 0);
    }
}
