//! Finds out for a page of records which of their targets exist.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crm_core::api::Target;
use crm_core::rules::Fact;
use futures::StreamExt;
use k8s_openapi::api::authentication::v1::UserInfo;
use tokio::time::sleep;

use super::files::NotHeld;
use super::patience::may_pass_of_kube;
use crate::directory::{Directory, LookupError, Presence};

/// How many questions are put to the API server at a time.
const CONCURRENT: usize = 16;
/// How long it may take to answer one.
const LIMIT: Duration = Duration::from_secs(10);
/// How often a question is put before there is no answer.
const ATTEMPTS: u32 = 5;
/// The pause after the first attempt; it doubles.
const PAUSE: Duration = Duration::from_millis(200);

/// Whether whoever reads the report is told names that may have been meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suggestions {
    /// They are, where the directory knows one.
    Given,
    /// They are not: nobody reads them.
    None,
}

/// The directory, and how it is asked.
pub struct Existence<'d> {
    directory: &'d dyn Directory,
    suggestions: Suggestions,
}

/// It could not be found out whether an object exists, and asking again did not help.
#[derive(Debug, thiserror::Error)]
#[error("the cluster does not say whether {} {:?} exists", target.kind, target.name)]
pub struct NoAnswer {
    target: Target,
    #[source]
    source: LookupError,
}

impl<'d> Existence<'d> {
    /// Asks this directory.
    pub fn new(directory: &'d dyn Directory, suggestions: Suggestions) -> Self {
        Self { directory, suggestions }
    }

    /// What is known of each target.
    ///
    /// # Errors
    /// The first that the API server goes on giving no answer about. What it refuses to say is no error: that is
    /// [`Fact::Unresolved`].
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
            Ok(Presence::Exists) => Ok(Fact::Exists),
            Ok(Presence::Terminating) => Ok(Fact::Terminating),
            Ok(Presence::Missing) => Ok(Fact::Missing { suggestion: self.suggestion(target).await }),
            Err(error) if is_refusal(&error) => Ok(Fact::Unresolved { suggestion: None }),
            Err(source) => Err(NoAnswer { target: target.clone(), source }),
        }
    }

    async fn confirm(&self, target: &Target) -> Result<Presence, LookupError> {
        let mut pause = PAUSE;
        let mut answer = self.directory.confirm(target, LIMIT).await;
        for _ in 1..ATTEMPTS {
            if !answer.as_ref().is_err_and(passes) {
                break;
            }
            sleep(pause).await;
            pause *= 2;
            answer = self.directory.confirm(target, LIMIT).await;
        }
        answer
    }

    async fn suggestion(&self, target: &Target) -> Option<String> {
        match self.suggestions {
            Suggestions::None => None,
            Suggestions::Given => self.directory.suggest(target, &UserInfo::default(), LIMIT).await,
        }
    }
}

fn failure(error: &LookupError) -> Option<&kube::Error> {
    match error {
        LookupError::Failed(cause) => cause.downcast_ref(),
        LookupError::Late(_) | LookupError::TooLarge(_) | LookupError::Busy => None,
    }
}

fn is_refusal(error: &LookupError) -> bool {
    if let LookupError::Failed(cause) = error
        && cause.is::<NotHeld>()
    {
        return true;
    }
    matches!(failure(error), Some(kube::Error::Api(status)) if matches!(status.code, 401 | 403))
}

fn passes(error: &LookupError) -> bool {
    matches!(error, LookupError::Late(_) | LookupError::Busy) || failure(error).is_some_and(may_pass_of_kube)
}
