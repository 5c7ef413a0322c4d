//! Builds the units of a check with kustomize.
//!
//! *Architecture invariant:* it runs programs and knows no rule. `crm_check::units` knows which files belong together, and
//! `crm_check::check` what to make of the output.

mod interruption;
mod tool;

use std::io;
use std::num::NonZero;
use std::thread::available_parallelism;

use clap::ValueEnum;
use crm_check::check::{Bundle, Outcome};
use crm_check::units::{Cause, Obstacle, Root};
use crm_core::characters::printable;
use futures::StreamExt;
use schemars::JsonSchema;
use serde::Deserialize;

use interruption::or_signal;
use tool::Tool;

/// What to do with a directory that has a kustomization file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
// The key of the configuration file has its own description.
#[schemars(inline, description = "")]
pub enum Mode {
    /// Build it, if it can be built here; else skip.
    #[default]
    Auto,
    /// Build it. If it cannot be built, the command exits with 2.
    Build,
    /// Check its resources as they stand, without patches, components and generators.
    Skip,
}

/// Why no build can start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The mode is [`Mode::Build`], and there is no program to build with.
    #[error(
        "--kustomize build needs the program kustomize or kubectl, and neither is on the PATH; install one \
         (https://kubectl.docs.kubernetes.io/installation/kustomize/), or give --kustomize skip"
    )]
    NoTool,
    /// A signal could not end the builds.
    #[error("signals cannot be awaited during a build")]
    Signals(#[source] io::Error),
}

/// Builds the units of a bundle, and checks what they render in place of their files. Returns notes for the user, each a
/// sentence about what is not built.
///
/// # Errors
/// No build can start.
pub async fn build(bundle: &mut Bundle, mode: Mode) -> Result<Vec<String>, StartError> {
    let tool = if mode == Mode::Skip { None } else { Tool::find() };
    if mode == Mode::Build && tool.is_none() {
        return Err(StartError::NoTool);
    }
    let units = bundle.units();
    let (Some(tool), false) = (tool, units.is_empty()) else {
        bundle.without_builds(&units);
        // One that cannot be read is an error anyway.
        let is_readable =
            |root: &Root<'_>| root.obstacles().iter().all(|obstacle| obstacle.cause != Cause::Unreadable);
        let count = units.roots().filter(is_readable).count();
        return Ok((mode == Mode::Auto && count > 0).then(|| not_built(count)).into_iter().collect());
    };
    let builds = units.roots().map(|root| outcome(&tool, root, mode));
    let at_once = available_parallelism().map_or(1, NonZero::get);
    let builds = futures::stream::iter(builds).buffered(at_once).collect::<Vec<_>>();
    let (outcomes, notes): (Vec<Outcome>, Vec<Option<String>>) =
        or_signal(builds).await.map_err(StartError::Signals)?.into_iter().unzip();
    bundle.with_builds(&units, outcomes);
    Ok(notes.into_iter().flatten().collect())
}

/// What becomes of one unit, and the note about it.
async fn outcome(tool: &Tool, root: Root<'_>, mode: Mode) -> (Outcome, Option<String>) {
    match root.obstacles().first() {
        Some(obstacle) if mode == Mode::Auto && matches!(obstacle.cause, Cause::Remote | Cause::Charts) => {
            (Outcome::Skipped, Some(skipped(root, obstacle)))
        }
        Some(obstacle) => (Outcome::Blocked(blocked(root, obstacle)), None),
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
fn blocked(root: Root<'_>, obstacle: &Obstacle) -> Obstacle {
    let advice = match obstacle.cause {
        Cause::Mistake | Cause::Unreadable => "correct it, or give --kustomize skip".to_owned(),
        Cause::Remote | Cause::Charts => format!("{}, or give --kustomize auto", advice(root)),
    };
    Obstacle { message: format!("{}; {advice}", obstacle.message), ..obstacle.clone() }
}

/// How to check a unit that this program does not build.
fn advice(root: Root<'_>) -> String {
    format!(
        "if it needs flags, build it and check the output: kustomize build {} … | crm-admission check -",
        for_shell(&root.name())
    )
}

/// A path as an argument in a shell.
fn for_shell(path: &str) -> String {
    // Otherwise it would be an option.
    let path = if path.starts_with('-') { format!("./{path}") } else { path.to_owned() };
    // Only a path with NUL, which no path has, cannot be written.
    shlex::try_quote(&path).map_or_else(|_| path.clone(), |quoted| quoted.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_argument_in_a_shell() {
        for (path, expected) in [
            ("overlays/dev-1.0", "overlays/dev-1.0"),
            (".", "."),
            ("my team/$dev", "'my team/$dev'"),
            ("it's", "\"it's\""),
            ("-dev", "./-dev"),
        ] {
            assert_eq!(for_shell(path), expected);
        }
    }
}
