//! A replay as one JSON object, for programs.

use crm_core::comparison::{Difference, Differences};
use serde_json::{Value, json};

use super::{Heading, largest};
use crate::replay::tally::{Example, Group, Tally, Undecided};

/// The version of the report.
const VERSION: u32 = 1;

pub(super) fn render(tally: &Tally, heading: &Heading) -> String {
    let groups = tally.groups.iter().map(|((difference, rule), group)| {
        let mut fields = group_fields(group, heading.limit);
        fields["difference"] = json!(key(*difference));
        fields["rule"] = json!(rule.as_str());
        fields
    });
    let unreadable = tally.unreadable.files.iter().chain(&tally.unreadable.first);
    let report = json!({
        "version": VERSION,
        "policy": heading.policy,
        "against": heading.against,
        "groups": groups.collect::<Vec<_>>(),
        "unreadable": unreadable.map(|(place, why)| json!({"place": place, "message": why})).collect::<Vec<_>>(),
        "summary": summary(tally),
    });
    format!("{report:#}\n")
}

const fn key(difference: Difference) -> &'static str {
    match difference {
        Difference::NewlyDenied => "newlyDenied",
        Difference::NoLongerDenied => "noLongerDenied",
        Difference::NewlyWarned => "newlyWarned",
    }
}

const fn undecided_key(why: Undecided) -> &'static str {
    match why {
        Undecided::Patch => "patches",
        Undecided::Refused => "failedOtherwise",
        Undecided::Collection => "deletionsOfCollections",
    }
}

fn counts(differences: &Differences) -> Value {
    Difference::ALL
        .into_iter()
        .map(|difference| (key(difference), json!(differences.of(difference))))
        .collect()
}

fn group_fields(group: &Group, limit: usize) -> Value {
    let (users, other_users) = largest(&group.users, limit);
    let (objects, other_objects) = largest(&group.objects, limit);
    let users = users.into_iter().map(|(name, writes)| json!({"name": name, "writes": writes}));
    let objects = objects
        .into_iter()
        .map(|((kind, name), writes)| json!({"kind": kind.label(), "name": name, "writes": writes}));
    json!({
        "writes": group.writes,
        "users": users.collect::<Vec<_>>(),
        "otherUsers": other_users,
        "objects": objects.collect::<Vec<_>>(),
        "otherObjects": other_objects,
        "examples": group.examples.iter().map(example).collect::<Vec<_>>(),
    })
}

fn example(example: &Example) -> Value {
    json!({
        "time": example.time.to_string(),
        "user": example.user,
        "operation": example.verb,
        "dryRun": example.dry_run,
        "kind": example.kind.label(),
        "name": example.name,
        "oldObjectKnown": example.old_is_known,
        "field": example.field,
        "message": example.message,
        "place": example.place,
    })
}

fn summary(tally: &Tally) -> Value {
    let undecided = |why| (undecided_key(why), json!(tally.undecided.get(&why).copied().unwrap_or_default()));
    let mut summary = json!({
        "read": tally.read,
        "decided": tally.decided,
        "notDecided": Undecided::ALL.into_iter().map(undecided).collect::<Value>(),
        "withoutObject": tally.without_object,
        "withoutOldObject": tally.without_old,
        "differencesWithoutOldObject": counts(&tally.differences_without_old),
        "patchesByResult": tally.patches,
        "referencesNotJudged": tally.not_judged,
        "deletionsByLog": tally.open_deletions,
        "unreadable": tally.unreadable.count,
        "unreadableLogs": tally.unreadable.files.len(),
    });
    for difference in Difference::ALL {
        summary[key(difference)] = json!(tally.differences.of(difference));
    }
    summary
}
