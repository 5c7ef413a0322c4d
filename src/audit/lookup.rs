//! Looks up the targets of a page of records.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use backon::Retryable;
use crm_core::api::Target;
use crm_core::existence::{Fact, Presence};
use futures::StreamExt;
use k8s_openapi::api::authentication::v1::UserInfo;

use super::files::NotHeld;
use crate::cluster::{RequestError, pauses};
use crate::directory::{LookUp, LookupError};

/// The maximum number of lookups at the same time.
const CONCURRENT: usize = 16;
/// The time limit of one lookup.
const LIMIT: Duration = Duration::from_secs(10);
/// The number of attempts.
const ATTEMPTS: usize = 5;

/// Whether the report suggests names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suggestions {
    /// It does, if the directory knows one.
    Given,
    /// It does not, because nobody reads them.
    None,
}

/// The directory, and whether to ask it for suggestions.
pub struct Existence<'d> {
    directory: &'d dyn LookUp,
    suggestions: Suggestions,
}

/// A lookup that failed after all attempts.
#[derive(Debug, thiserror::Error)]
#[error("the cluster does not say whether {} {:?} exists", target.kind, target.name)]
pub struct NoAnswer {
    target: Target,
    #[source]
    source: LookupError,
}

impl<'d> Existence<'d> {
    /// Uses this directory.
    pub fn new(directory: &'d dyn LookUp, suggestions: Suggestions) -> Self {
        Self { directory, suggestions }
    }

    /// Looks up each target.
    ///
    /// # Errors
    /// The first lookup that keeps failing. A denied lookup is not an error, but [`Fact::Unresolved`].
    pub async fn facts(&self, targets: HashSet<Target>) -> Result<HashMap<Target, Fact>, NoAnswer> {
        let mut answers = futures::stream::iter(targets)
            .map(|target| async move {
                let fact = self.fact(&target).await?;
                Ok((target, fact))
            })
            .buffer_unordered(CONCURRENT);
        let mut facts = HashMap::new();
        while let Some(answer) = answers.next().await {
            facts.extend([answer?]);
        }
        Ok(facts)
    }

    async fn fact(&self, target: &Target) -> Result<Fact, NoAnswer> {
        let presence = match self.directory.recall(target) {
            Some(known) => Ok(known),
            None => self.confirm(target).await,
        };
        match presence {
            Ok(Presence::Missing) => Ok(Fact::Missing { suggestion: self.suggestion(target).await }),
            Ok(present) => Ok(present.into()),
            Err(error) if is_denial(&error) => Ok(Fact::Unresolved { suggestion: None }),
            Err(source) => Err(NoAnswer { target: target.clone(), source }),
        }
    }

    async fn confirm(&self, target: &Target) -> Result<Presence, LookupError> {
        (|| self.directory.confirm(target, LIMIT)).retry(pauses(ATTEMPTS)).when(passes).await
    }

    async fn suggestion(&self, target: &Target) -> Option<String> {
        match self.suggestions {
            Suggestions::None => None,
            Suggestions::Given => self.directory.suggest(target, &UserInfo::default(), LIMIT).await,
        }
    }
}

fn failure(error: &LookupError) -> Option<&RequestError> {
    match error {
        LookupError::Failed(cause) => cause.downcast_ref(),
        LookupError::Late(_) | LookupError::TooLarge(_) | LookupError::NoUid | LookupError::Busy => None,
    }
}

fn is_denial(error: &LookupError) -> bool {
    if let LookupError::Failed(cause) = error
        && cause.is::<NotHeld>()
    {
        return true;
    }
    matches!(failure(error).and_then(RequestError::code), Some(401 | 403))
}

fn passes(error: &LookupError) -> bool {
    matches!(error, LookupError::Late(_) | LookupError::Busy)
        || failure(error).is_some_and(RequestError::may_pass)
}
