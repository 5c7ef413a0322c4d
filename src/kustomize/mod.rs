//! Builds the units of a check with kustomize.
//!
//! *Architecture invariant:* it runs programs and knows no rule. `crm_check::units` knows which files belong together, and
//! `crm_check::check` what to make of the output.

mod tool;

use std::num::NonZero;
use std::thread::available_parallelism;

use crm_check::check::{Bundle, Outcome};
use crm_check::units::{Cause, Obstacle, Root};
use crm_core::characters::printable;
use futures::StreamExt;

use tool::Tool;

/// What to do with directories that have a kustomization file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Build each that can be built here, else check its resources as they stand.
    #[default]
    Auto,
    /// Build each. What cannot be built is an error.
    Build,
    /// Check all resources as they stand.
    Skip,
}

/// There is no program to build with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "--kustomize build needs the program kustomize or kubectl, and neither is on the PATH; install one \
     (https://kubectl.docs.kubernetes.io/installation/kustomize/), or give --kustomize skip"
)]
pub struct NoTool;

/// Builds the units of a bundle, and checks what they render in place of their files. Returns notes for the user, each a
/// sentence about what is not built.
///
/// # Errors
/// The mode is [`Mode::Build`], and there is no program to build with.
pub async fn build(bundle: &mut Bundle, mode: Mode) -> Result<Vec<String>, NoTool> {
    let tool = if mode == Mode::Skip { None } else { Tool::find() };
    if mode == Mode::Build && tool.is_none() {
        return Err(NoTool);
    }
    let units = bundle.units();
    let (Some(tool), false) = (tool, units.is_empty()) else {
        bundle.without_builds(&units);
        let is_surprise = mode == Mode::Auto && units.roots().next().is_some();
        return Ok(is_surprise.then(|| not_built(units.roots().count())).into_iter().collect());
    };
    let builds = units.roots().map(|root| outcome(&tool, root, mode));
    let at_once = available_parallelism().map_or(1, NonZero::get);
    let mut notes = Vec::new();
    let mut outcomes = Vec::new();
    let mut builds = futures::stream::iter(builds).buffered(at_once);
    while let Some((outcome, note)) = builds.next().await {
        outcomes.push(outcome);
        notes.extend(note);
    }
    drop(builds);
    bundle.with_builds(&units, outcomes);
    Ok(notes)
}

/// What becomes of one unit, and the note about it.
async fn outcome(tool: &Tool, root: Root<'_>, mode: Mode) -> (Outcome, Option<String>) {
    match root.obstacles().first() {
        Some(obstacle) if mode == Mode::Auto && obstacle.cause != Cause::Mistake => {
            (Outcome::Skipped, Some(skipped(root, obstacle)))
        }
        Some(obstacle) => (Outcome::Refused(refused(root, obstacle)), None),
        None => match tool.build(root).await {
            Ok((output, base)) => (Outcome::Built { output, base }, None),
            Err(error) => (Outcome::Failed(format!("{error}; {}", advice(root))), None),
        },
    }
}

fn not_built(units: usize) -> String {
    let (they, their) = if units == 1 {
        ("1 directory with a kustomization file is".to_owned(), "its")
    } else {
        (format!("{units} directories with a kustomization file are"), "their")
    };
    format!(
        "neither kustomize nor kubectl is on the PATH, so {they} not built: {their} resources are checked as they stand; \
         install one, or give --kustomize skip"
    )
}

fn skipped(root: Root<'_>, obstacle: &Obstacle) -> String {
    let Obstacle { file, position: (line, column), message, .. } = obstacle;
    let place = format!("{}:{line}:{column}: {}", printable(file), printable(message));
    format!("{} is not built, and its resources are checked as they stand: {place}", printable(&root.name()))
}

/// An obstacle with what to do about it.
fn refused(root: Root<'_>, obstacle: &Obstacle) -> Obstacle {
    let advice = match obstacle.cause {
        Cause::Mistake => "correct it, or give --kustomize skip".to_owned(),
        Cause::Remote | Cause::Charts => format!("{}, or give --kustomize auto", advice(root)),
    };
    Obstacle { message: format!("{}; {advice}", obstacle.message), ..obstacle.clone() }
}

/// How to check a unit that this program does not build.
fn advice(root: Root<'_>) -> String {
    format!(
        "if it needs flags, build it and check the output: kustomize build {} … | crm-admission check -",
        root.name()
    )
}
