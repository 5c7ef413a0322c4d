//! Finds, among names that exist, the one that a name which does not exist was probably meant to be.

use std::ops::ControlFlow;

/// The most names that one search reads (measured: 35 ms of one core for a million), and the most cells of
/// edit-distance tables that it fills, one per pair of letters of the names compared (27 ms). So a search
/// takes 100 ms at most. In a set that exceeds this a near name can stay unseen, and which one is found then
/// depends on how the set happens to be kept.
const MOST_READ: usize = 2_000_000;
const MOST_CELLS: usize = 10_000_000;

/// Shorter names are not guessed at: with one edit they are already other names.
const SHORTEST: usize = 3;

/// Where one name may go on from another: `acme` and `acme-corp`, but not `acme` and `acmeist`.
const BOUNDARIES: [u8; 2] = [b'-', b'.'];

/// A search for the name nearest to a wanted one, in this order:
///
/// 1. a name within two edits (one for names of less than six letters), an edit being a letter more, less or other,
///    or two neighbours swapped; the fewest edits first, then the first in the alphabet;
/// 2. the only name of which the wanted one is the beginning, cut at `-` or `.`: `acme` → `acme-corp`;
/// 3. the longest beginning of the wanted name that exists, cut likewise: `acme-corp-inc` → `acme-corp`.
///
/// Lengths are bytes, which for the names that Kubernetes allows is the same as letters.
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

/// The names that go on where the wanted one ends.
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

    /// Looks at one name, given as `namespace/name` or `name`. `Break` says that no more are wanted.
    pub(super) fn offer(&mut self, key: &str) -> ControlFlow<()> {
        if self.is_exhausted() || self.wanted.len() < SHORTEST {
            return ControlFlow::Break(());
        }
        // The length is known without a look at the text, which would be a miss in the processor's cache.
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

    /// The name found. `exists` is asked about the beginnings of the wanted name.
    pub(super) fn finish(self, exists: impl Fn(&str) -> bool) -> Option<String> {
        if self.wanted.len() < SHORTEST {
            return None;
        }
        // A search that was given up cannot know that there is only one.
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
        // An edit changes the length by one at most, and at most two of the letters that occur. These two
        // comparisons spare nearly all names the table.
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
        // No edits at all: the local copy has not heard yet that the name is gone, which is no reason to
        // propose it.
        if (1..=self.most_edits).contains(&edits) && is_better {
            self.best = Some((edits, name.to_owned()));
        }
    }
}

/// Which letters occur, as one bit for each: `a`–`z`, `0`–`9`, `-` and `.` have bits of their own.
fn letters(name: &str) -> u64 {
    name.bytes().fold(0, |letters, byte| letters | 1 << (byte % 64))
}

/// The name without its last part, without its last two parts and so on.
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
