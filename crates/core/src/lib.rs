//! crm-core: decides about CRM records as a pure function of its arguments.
//!
//! It has the types of the records and of the policy with their schemas ([`api`]), the normalization of values
//! ([`normalize`]), the list of rules ([`catalog`]), the compiled policy ([`policy`]), the table of references
//! ([`links`]), the facts about their targets ([`existence`]), the engine ([`rules`]), the JSON Patch of its changes
//! ([`patch`]), and the comparison of two policies ([`comparison`]). [`characters`] and [`quote`] escape text from
//! outside, and [`counted`] writes numbers. The webhook, `check` and `audit` call the same engine, so for the same
//! record, policy and facts they reach the same verdict.
//!
//! *Architecture invariant:* pure. It does no input or output, reads no clock, uses no random numbers, and knows no
//! client, server or file. It builds for `wasm32-unknown-unknown` and depends on no asynchronous runtime, HTTP or TLS
//! crate; `make lint` checks both.

pub mod api;
pub mod catalog;
pub mod characters;
pub mod comparison;
pub mod counted;
pub mod existence;
pub mod links;
pub mod normalize;
pub mod patch;
pub mod policy;
pub mod quote;
pub mod rules;
