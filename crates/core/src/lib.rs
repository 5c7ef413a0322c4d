//! crm-core: decides about CRM records, as a plain function of what it is given.
//!
//! It holds the types of the records and of the policy with their schemas ([`api`]), the canonical forms
//! ([`normalize`]), the list of rules ([`catalog`]), what admins decide ([`policy`]), the table of references
//! ([`links`]), what is known of their targets ([`existence`]), the engine ([`rules`]) and the JSON Patch of its changes
//! ([`patch`]). [`characters`] and [`quote`] show text from outside safely. Whoever has a record, a policy and the
//! answers about its references gets the same verdict: the webhook, `check` and `audit` agree by construction.
//!
//! *Architecture invariant:* pure. It does no input or output, reads no clock, draws no random numbers, and knows no
//! client, server or file. It builds for `wasm32-unknown-unknown` and depends on no asynchronous runtime, HTTP or TLS
//! crate; `make lint` checks both.

pub mod api;
pub mod catalog;
pub mod characters;
pub mod existence;
pub mod links;
pub mod normalize;
pub mod patch;
pub mod policy;
pub mod quote;
pub mod rules;
