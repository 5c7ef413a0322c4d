//! Which parts of the program are ready, and why the others are not ready.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use arc_swap::ArcSwapOption;

/// Whether a part is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartState {
    /// The part is ready.
    Ready,
    /// The part is not ready, and no requests may be sent to this replica.
    NotReady(String),
    /// The part is not ready, but requests are served.
    Impaired(String),
}

/// One part, as `/readyz` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartReport {
    /// The name, such as `policy` or `directory Company.crm.milo.io`.
    pub name: Cow<'static, str>,
    /// Its state.
    pub state: PartState,
}

impl fmt::Display for PartReport {
    /// One line, in the format of the API server's `/readyz?verbose`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.state {
            PartState::Ready => write!(f, "[+]{name} ok"),
            PartState::NotReady(reason) => write!(f, "[-]{name}: {reason}"),
            PartState::Impaired(reason) => write!(f, "[!]{name}: {reason} (does not block readiness)"),
        }
    }
}

/// The parts of the program. Clones share them.
#[derive(Clone, Default)]
pub struct Readiness {
    sources: Arc<RwLock<Vec<Source>>>,
}

#[derive(Clone)]
enum Source {
    Part(Part),
    Asked(Arc<dyn Fn() -> Vec<PartReport> + Send + Sync>),
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.report()).finish()
    }
}

impl Readiness {
    /// A new part, `starting` until it reports another state.
    pub fn part(&self, name: impl Into<Cow<'static, str>>) -> Part {
        let reason = ArcSwapOption::from_pointee("starting".to_owned());
        let part = Part { shared: Arc::new(SharedPart { name: name.into(), reason }) };
        self.add(Source::Part(part.clone()));
        part
    }

    /// Adds parts whose state is read for each report. `ask` must return at once.
    pub fn ask(&self, ask: impl Fn() -> Vec<PartReport> + Send + Sync + 'static) {
        self.add(Source::Asked(Arc::new(ask)));
    }

    fn add(&self, source: Source) {
        self.sources.write().unwrap_or_else(PoisonError::into_inner).push(source);
    }

    /// All parts, in the order in which they were added.
    pub fn report(&self) -> Vec<PartReport> {
        // Copied, so that no lock is held while `ask` runs.
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut report = Vec::with_capacity(sources.len());
        for source in sources {
            match source {
                Source::Part(part) => report.push(part.report()),
                Source::Asked(ask) => report.extend(ask()),
            }
        }
        report
    }
}

/// A part that reports its own state. Clones share it.
#[derive(Clone, Debug)]
pub struct Part {
    shared: Arc<SharedPart>,
}

#[derive(Debug)]
struct SharedPart {
    name: Cow<'static, str>,
    /// `None` means ready.
    reason: ArcSwapOption<String>,
}

impl Part {
    /// Marks the part as ready.
    pub fn ready(&self) {
        self.shared.reason.store(None);
    }

    /// Marks the part as not ready, for a reason of a few words.
    pub fn not_ready(&self, reason: impl Into<String>) {
        self.shared.reason.store(Some(Arc::new(reason.into())));
    }

    fn report(&self) -> PartReport {
        let state = match self.shared.reason.load().as_deref() {
            None => PartState::Ready,
            Some(reason) => PartState::NotReady(reason.clone()),
        };
        PartReport { name: self.shared.name.clone(), state }
    }
}
