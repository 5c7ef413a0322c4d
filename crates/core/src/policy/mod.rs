//! The policy: the settings of cluster admins, compiled into the form that the engine reads.
//!
//! *Architecture invariant:* a policy does not know where it comes from. The caller that loads it sets
//! [`Policy::origin`].

mod compile;
mod creator;
mod problem;
pub mod reader;
mod settings;
mod show;
mod warning;

pub use compile::compile;
pub use creator::{CreatorSource, SourceField};
pub use problem::{Problem, Problems};
pub use settings::{
    Consistency, DryRunMode, EffectiveAction, Exemption, LabelRule, LookupErrorMode, Normalization,
    NormalizationMode, Policy, References, RuleSetting,
};
pub use show::document;
pub use warning::{IN_FORCE, Warning, warning_about_name, warnings};
